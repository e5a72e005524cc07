"""Every command under every condition of a person's machine: an exit code, a few lines, and no traceback.

The commands are those that the command line has, so a new one is in this table without being written here.
"""

import itertools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.environment import IsolatedInstance
from tests.fork_server import ENTRY, IMPORTS, ForkServer
from workshop.cli.app import build_tree
from workshop.core.errors import INTERRUPTED, WorkshopError
from workshop.core.paths import parts_dir

FAMILIES: tuple[type[WorkshopError], ...] = (WorkshopError, *WorkshopError.__subclasses__())
CODES = {0, INTERRUPTED, *(family.exit_code for family in FAMILIES)}
MOST_LINES = 6
SECONDS = 120
# What a command is given besides its required arguments, to be quick and to need nobody.
EXTRA = {
    "up": ["--dry-run"],
    "rehearse": ["--port", "nobody=8080"],
    "bundle create": ["--override", "nobody=1"],
    "part 4 run": ["--approve-as", "learner"],
    "part 4 compare": ["--only", "nobody"],
    "compare": ["--only", "nobody"],
    "part 4 construct": ["--cleanup"],
    "open": ["nobody"],  # a part that is there would be served until Ctrl-C
}
SAMPLES = {"number": "1", "client": "cursor"}
# These change what runs, so they get an instance where nothing does.
CHANGES = ("teardown", "login revoke", "part 4 construct", "rehearse")
FAST = ("status", "teardown")


def commands() -> dict[str, Any]:
    """Every command by its words.

    What several parts have is there once, except for `run`, and for the `check` of part 3, which connects.
    """
    found: dict[str, Any] = {}
    names: set[str] = set()
    for name, command in _below(build_tree(), ()):
        same = name if name.endswith((" run", "3 check")) else re.sub(r"\d+ ", "", name)
        if same not in names:
            names.add(same)
            found[name] = command
    return found


def _below(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", {})
    for name, child in children.items():
        yield from _below(child, (*path, name))
    if not children:
        yield " ".join(path), command


COMMANDS = commands()


def words(name: str, instance: IsolatedInstance) -> list[str]:
    """A command line that runs to its end."""
    url = f"http://localhost:{instance.ports['github-remote']}/mcp"
    samples = {**SAMPLES, "url": url}
    given = [
        samples.get(each.name, "nothing.json")
        for each in COMMANDS[name].params
        if each.param_type_name == "argument" and each.required
    ]
    return [*name.split(), *given, *EXTRA.get(name, [])]


def takes_json(name: str) -> bool:
    return any("--json" in each.opts for each in COMMANDS[name].params)


@dataclass(frozen=True)
class Condition:
    """What is wrong with the machine.

    `streams` are redirections of the shell, `before` its commands ahead of the program. `damage` changes a
    file in a copy of a running instance's state. `json`: whether `--json` is looked at too; it is ASCII.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    streams: str = ""
    before: str = ""
    damage: Callable[[Path], None] | None = None
    json: bool = True
    namespace: bool = False


def _nested(file: Path) -> None:
    file.write_text("[" * 20_000)


def _mistyped(file: Path) -> None:
    """Every number is text, every text is a number, and every list is a table."""

    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return {"0": "x"}
        return 7 if isinstance(value, str) else "x"

    file.write_text(json.dumps(turned(json.loads(file.read_text()))))


NO_LOCALHOST = 'echo "127.0.0.1 elsewhere" > hosts && mount --bind hosts /etc/hosts'
FILL = '(yes > "$WORKSHOP_HOME/fill" || true) 2>/dev/null'
FULL_DISK = f'mount -t tmpfs -o size=64k none "$WORKSHOP_HOME" && {FILL}'
CONDITIONS = {
    "proxies": Condition(
        {
            "ALL_PROXY": "socks5h://127.0.0.1:9",
            "HTTP_PROXY": "htp://proxy",
            "https_proxy": "http://proxy:port",
        }
    ),
    "socks": Condition({"all_proxy": "socks://proxy"}),
    "certificates": Condition({"SSL_CERT_FILE": "/dev/null", "SSLKEYLOGFILE": "/nowhere/keys.log"}),
    "no certificates": Condition({"SSL_CERT_FILE": "/nowhere/ca.pem", "SSL_CERT_DIR": "/nowhere"}),
    "optimised": Condition({"PYTHONOPTIMIZE": "2"}),
    "ascii": Condition({"PYTHONIOENCODING": "ascii"}, json=False),
    "iso-8859-15": Condition({"PYTHONIOENCODING": "iso-8859-15"}, json=False),
    "euc-jp": Condition({"PYTHONIOENCODING": "euc_jp"}, json=False),
    "gbk": Condition({"PYTHONIOENCODING": "gbk"}, json=False),
    "locale C": Condition({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    "stdin closed": Condition(streams="<&-"),
    "stderr closed": Condition(streams="2>&-"),
    "stdout closed": Condition(streams=">&-", json=False),
    "all closed": Condition(streams="<&- >&- 2>&-", json=False),
    "stdout full": Condition(streams=">/dev/full", json=False),
    "stderr full": Condition(streams="2>/dev/full"),
    "no reader": Condition(streams="| head -c 1", json=False),
    "home is a file": Condition({"WORKSHOP_HOME": "{folder}/.env"}),
    "home of nobody": Condition({"WORKSHOP_HOME": "~nobody-has-this-name/x"}),
    "home not writable": Condition({"WORKSHOP_HOME": "/proc/workshop"}),
    "folder deleted": Condition(before="mkdir gone && cd gone && rmdir ../gone"),
    "state nested": Condition(damage=_nested),
    "state mistyped": Condition(damage=_mistyped),
    "no localhost": Condition(before=NO_LOCALHOST, namespace=True),
    "disk full": Condition(before=FULL_DISK, namespace=True),
}
FORKED = [name for name, condition in CONDITIONS.items() if "|" not in condition.streams]


def can_unshare(flags: str = "-rm") -> bool:
    """Whether a namespace with mounts of its own can be made here."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", flags, "true"], capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class Machine:
    """One condition, in a folder of its own, beside an instance that runs."""

    condition: Condition
    instance: IsolatedInstance
    folder: Path
    server: ForkServer | None = None
    few: bool = False

    def home(self, name: str) -> Path:
        """The state directory for a command: that of the running instance, or another one that may change."""
        # Inside a namespace of its own, a program may not look at the processes that run outside.
        if self.condition.damage is None and name not in CHANGES and not self.condition.namespace:
            return self.instance.home
        home = self.folder / "state"
        if not home.exists() and self.condition.damage is not None:
            shutil.copytree(self.instance.home, home, ignore=shutil.ignore_patterns("*.lock", "*.sqlite*"))
            for file in home.rglob("*.json"):
                self.condition.damage(file)
        home.mkdir(exist_ok=True)
        return home

    def run(self, name: str, *more: str) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        return self.start(["-m", "workshop", *words(name, self.instance), *more], self.home(name))

    def start(self, python: Sequence[str], home: Path) -> subprocess.CompletedProcess[str]:
        """Run what Python is given under this condition; if there is a server, it forks the process."""
        (self.folder / ".env").touch(mode=0o600)
        if self.server is None:
            return subprocess.run(
                [*self.interpreter, *python],
                cwd=self.folder,
                env=self.environment(home),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=SECONDS,
                check=False,
            )
        inside = self.condition.namespace or not self.condition.before
        # A command makes its streams usable before it imports the rest; a few commands need little of it.
        few = self.condition.streams or self.few
        return self.server.run(
            python,
            self.folder if inside else None,
            self.environment(home),
            imports=[ENTRY] if few else IMPORTS,
            first=self.condition.before if self.condition.namespace else "",
            finalize=True,  # an object that is destroyed last may print, too
            timeout=SECONDS,
        )

    @property
    def interpreter(self) -> list[str]:
        """The command line of Python under this condition, but for what it is given."""
        script = f'"{sys.executable}" "$@" {self.condition.streams}'
        script = f"{self.condition.before or ':'} || exit 99; {script}"
        return [*(["unshare", "-rm"] if self.condition.namespace else []), "/bin/sh", "-c", script, "sh"]

    def environment(self, home: Path) -> dict[str, str]:
        here = {key: value.format(folder=self.folder) for key, value in self.condition.environment.items()}
        return {**self.instance.environment, "WORKSHOP_HOME": str(home), **here}


@pytest.fixture(scope="module")
def prepared(
    request: pytest.FixtureRequest, started: IsolatedInstance, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Condition, ForkServer | None]]:
    """A condition, and a fork server that starts under it; none where the shell starts a reader too."""
    condition = CONDITIONS[request.param]
    if condition.namespace and not can_unshare():
        pytest.skip("No namespace with mounts of its own can be made here")
    if request.param not in FORKED:
        yield condition, None
        return
    machine = Machine(condition, started, tmp_path_factory.mktemp("server"))
    # A stream that the shell has closed, or has opened on a full file, is exactly that in a forked child.
    redirected = [int(number or 1) for number in re.findall(r"(\d?)>", condition.streams)]
    server = ForkServer(
        machine.interpreter, machine.folder, machine.environment(machine.home("status")), redirected
    )
    yield condition, server
    server.close()


@pytest.fixture
def machine(
    request: pytest.FixtureRequest,
    prepared: tuple[Condition, ForkServer | None],
    running: IsolatedInstance,
    tmp_path: Path,
) -> Machine:
    condition, server = prepared
    few = request.node.originalname != "test_every_command_ends_in_a_few_lines"
    return Machine(condition, running, tmp_path, server, few)


def check(machine: Machine, name: str) -> None:
    done = machine.run(name)
    _few_lines(done)
    if takes_json(name) and machine.condition.json:
        done = machine.run(name, "--json")
        _few_lines(done)
        document = json.loads(done.stdout)
        assert document["exit_code"] == done.returncode
        assert document["command"] == " ".join(word for word in name.split() if not word.isdigit())
        assert ("error" in document) == (done.returncode != 0)


def _few_lines(done: subprocess.CompletedProcess[str]) -> None:
    printed = f"{done.stdout}\n{done.stderr}"
    assert done.returncode in CODES, printed
    for forbidden in ("Traceback", "This is a bug", "Exception ignored", "--- Logging error"):
        assert forbidden not in printed, printed
    lines = done.stderr.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("Error: ")]
    for start, end in itertools.pairwise([*starts, len(lines)]):  # `rehearse` runs several commands
        shown = [line for line in lines[start:end] if not line.startswith(("Next: ", "Warning: ", "── "))]
        assert len(shown) <= MOST_LINES, printed


WITHOUT_NAMESPACE = [name for name, condition in CONDITIONS.items() if not condition.namespace]


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("prepared", WITHOUT_NAMESPACE, indirect=True)
def test_a_few_commands_end_in_a_few_lines(machine: Machine, name: str) -> None:
    check(machine, name)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in FAST])
@pytest.mark.parametrize("prepared", CONDITIONS, indirect=True)
def test_every_command_ends_in_a_few_lines(machine: Machine, name: str) -> None:
    check(machine, name)


WITH_A_HOME = [name for name, condition in CONDITIONS.items() if "WORKSHOP_HOME" not in condition.environment]


@pytest.mark.parametrize("condition", WITH_A_HOME)
def test_teardown_leaves_no_process(condition: str, instance: IsolatedInstance, tmp_path: Path) -> None:
    found = CONDITIONS[condition]
    if found.namespace and not can_unshare():
        pytest.skip("No namespace with mounts of its own can be made here")
    instance.up()
    assert instance.processes()
    if found.damage is not None:
        for file in instance.home.rglob("*.json"):
            found.damage(file)
    before = "true" if found.before == FULL_DISK else found.before or "true"
    ended = subprocess.run(
        [
            *(["unshare", "-rm"] if found.namespace else []),
            *["/bin/sh", "-c", f'{before} && "{sys.executable}" -m workshop teardown {found.streams}'],
        ],
        cwd=tmp_path,
        env={**instance.environment, **found.environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert instance.processes() == [], ended.stderr
    assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize("part", ["01_agent_loop", "03_toolhive"])
@pytest.mark.parametrize("prepared", WITHOUT_NAMESPACE, indirect=True)
def test_main_py_ends_in_a_few_lines(machine: Machine, part: str) -> None:
    _few_lines(machine.start([str(parts_dir() / part / "main.py")], machine.home("part 3 run")))


@pytest.mark.parametrize("prepared", FORKED, indirect=True)
def test_a_forked_command_does_what_a_started_one_does(machine: Machine) -> None:
    forked, real = machine.run("status"), replace(machine, server=None).run("status")
    assert (forked.returncode, forked.stdout, forked.stderr) == (real.returncode, real.stdout, real.stderr)
