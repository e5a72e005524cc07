"""Whole scripts of commands on a full disk, or without a usable localhost: each in a namespace of its own."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.test_conditions import FILL, SECONDS, can_unshare
from tests.environment import IsolatedInstance
from tests.fork_server import IMPORTS, ForkServer
from workshop.lab import process

Run = Callable[..., subprocess.CompletedProcess[str]]
SCRIPT = """\
part 1 run
part 4 run --approve-as learner --trace trace.html --trace trace.json
part 4 run --variation worker --approve-as learner
part 1 exercise 1
report
demo record part-1 demo.cast
connect vscode --write --yes
"""
EMPTY_FILES = 'find . -type f -size 0 ! -name .env ! -name "*.lock"'


@contextmanager
def commands(before: str, folder: Path, environment: Mapping[str, str], flags: str = "-rm") -> Iterator[Run]:
    """Runs commands in the mounts and the folder that `before` makes; `first` is a shell's, before one."""
    if not can_unshare(flags):
        pytest.skip("No namespace of its own can be made here")
    script = f'{before} || exit 99; "{sys.executable}" "$@"'
    server = ForkServer(["unshare", flags, "/bin/sh", "-c", script, "sh"], folder, environment)

    def run(*words: str, first: str = "") -> subprocess.CompletedProcess[str]:
        argv = ("-m", "workshop", *words)
        return server.run(argv, None, environment, imports=IMPORTS, first=first, timeout=SECONDS)

    yield run
    server.close()


@pytest.mark.parametrize("runs", ["nothing", "an instance"])
def test_a_full_disk_leaves_no_process_and_no_half_file(
    runs: str, instance: IsolatedInstance, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    environment = {**instance.environment, "DISK": str(disk), "WORKSHOP_HOME": str(disk / "state")}
    mounted = 'mount -t tmpfs -o size=4m none "$DISK" && mkdir "$DISK/state" "$DISK/here"'
    up = ("up", "--upstream", "practice", *instance.port_options)
    with commands(f'{mounted} && cd "$DISK/here" && touch .env', tmp_path, environment) as workshop:
        done = [workshop(*up)] if runs == "an instance" else []
        done.append(workshop(*up, first=FILL))
        done += [workshop(*line.split()) for line in SCRIPT.splitlines()]
        done.append(workshop("teardown", first=EMPTY_FILES))
    printed = "".join(each.stdout + each.stderr for each in done)
    assert list(process.strays(disk)) == [], printed
    for forbidden in ("Traceback", "This is a bug", "./"):
        assert forbidden not in printed, printed
    assert "No space left on device" in printed
    assert done[-1].returncode == 0, printed


@pytest.mark.parametrize("hosts", ["127.0.0.1 elsewhere", "127.0.1.1 localhost"])
def test_a_localhost_that_leads_nowhere_is_named(hosts: str, instance: IsolatedInstance) -> None:
    mounted = f'echo "{hosts}" > hosts && mount --bind hosts /etc/hosts'
    with commands(mounted, instance.folder, instance.environment) as workshop:
        done = [workshop("up", "--upstream", "practice", *instance.port_options)]
        done += [workshop(*line.split()) for line in ("part 3 run", "part 3 check", "doctor", "teardown")]
    output, errors = "".join(each.stdout for each in done), "".join(each.stderr for each in done)
    problem = "has no address" if "elsewhere" in hosts else "is 127.0.1.1"
    assert [each.returncode for each in done] == [0, 3, 6, 3, 0], output + errors
    assert f"Error: `localhost` {problem} on this machine" in errors
    assert output.count(f"`localhost` {problem}") == 2  # the check and doctor name it too
    assert instance.processes() == []


def test_a_loopback_that_is_down_is_named_before_anything_starts(instance: IsolatedInstance) -> None:
    up = ("up", "--upstream", "practice", *instance.port_options)
    worker = ("part", "4", "run", "--variation", "worker", "--approve-as", "learner")
    # A new network namespace has an interface `lo` that nobody has turned on.
    with commands(":", instance.folder, instance.environment, "-rn") as workshop:
        done = [workshop(*words) for words in (up, worker, ("rehearse",), ("doctor",))]
    down = "This machine's loopback interface is down"
    hint = "  → Turn it on as root: `ip link set lo up`\n"
    for each in done[:2]:
        assert each.returncode == 3, each.stderr
        assert each.stderr.endswith(f"Error: {down}\n  127.0.0.1: Network is unreachable\n{hint}")
        assert "…" not in each.stderr, "no program was started"
    assert f"{down}" in done[2].stdout + done[2].stderr
    assert done[3].returncode == 3
    assert f"{down}: 127.0.0.1: Network is unreachable" in done[3].stdout
    assert instance.processes() == []
