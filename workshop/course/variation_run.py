"""Run a variation: its programs, with ports, secrets and configuration of their own, and its script."""

import json
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workshop.core.console import Progress
from workshop.core.errors import DeadlineError, UsageError, WorkshopError
from workshop.core.instance import Instance
from workshop.core.paths import write_private
from workshop.core.ports import free_port, is_free
from workshop.core.text import one_line, unbroken
from workshop.course.lessons import Variation
from workshop.lab import process
from workshop.lab.base import Applied, Limits, Program, WorkloadStatus, quiet_progress
from workshop.lab.logs import Log, file_logs
from workshop.lab.process import on_this_machine

if TYPE_CHECKING:
    from workshop.agent.run import Endpoints

_PEOPLE = ("learner", "mentor")
_PREPARE_SECONDS = 60
_SCOPES = ("repo", "read:org", "read:user", "user:email")
PROXY = "github-remote"
"""Part 4's agent asks for its server by this name; a variation puts its own behind it."""
_PLACEHOLDER = re.compile(r"\{(url|secret):([a-z0-9-]+)\}|\{(directory|edition|exercises)\}")
_CLIENT_SECRET = "client-secret"  # noqa: S105 - its name
_RANDOM_BYTES = 48  # 64 characters: HMAC secrets need 32 bytes


@dataclass(frozen=True)
class Edition:
    """Which edition of a variation runs, and where a learner's files for it are."""

    name: str = "mended"
    exercises: str = ""


class VariationPrograms:
    """One variation's processes, secrets and logs under one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._processes = process.Supervisor(directory)

    def start(
        self, programs: Sequence[Program], edition: Edition, seconds: float, progress: Progress
    ) -> Applied:
        """Start what does not run as described; a free port replaces a preferred one that is taken."""
        return self.on_ports(programs, lambda ports: self._start(programs, ports, edition, seconds, progress))

    def on_ports(self, programs: Sequence[Program], act: Callable[[Mapping[str, int]], Applied]) -> Applied:
        """What `act` starts on the ports of these, once more on others if one was taken meanwhile."""
        ports = self.ports(programs)
        try:
            return act(ports)
        except WorkshopError:
            running = self.endpoints()
            if all(name in running or is_free(port) for name, port in ports.items()):
                raise
            # Another variation, started at the same moment, took the same free port first.
            return act(self.ports(programs))

    def _start(
        self,
        programs: Sequence[Program],
        ports: Mapping[str, int],
        edition: Edition,
        seconds: float,
        progress: Progress,
    ) -> Applied:
        programs = [self._plan(program, ports, edition, seconds) for program in programs]
        self._processes.prune(programs, progress)
        return self._processes.apply(programs, progress)

    def endpoints(self) -> Mapping[str, str]:
        """The URL of each program that runs now."""
        states = self._processes.states()
        return {name: state.url for name, state in states.items() if process.find(state)}

    def expand(self, pattern: Mapping[str, Any], edition: Edition) -> dict[str, Any]:
        """A configuration with its placeholders replaced, for a script that runs beside the programs."""
        ports = {name: state.port for name, state in self._processes.states().items()}
        return dict(_expanded(pattern, lambda match: self._value(match, "prepare", ports, edition)))

    def secret(self, name: str) -> Path:
        """The file of a secret, made once."""
        path = self.directory / "secrets" / name
        if not path.exists():
            write_private(path, self._new_secret(name))
        return path

    def status(self) -> Sequence[WorkloadStatus]:
        """How each program is now, or each forward."""
        if not self._are_forwards():
            return self._processes.status()
        from workshop.lab.cluster.forwards import Forwards  # a variation without a cluster needs no renderer

        return Forwards(self.directory.parents[1], Limits(), self.directory.name).status()

    def logs(self) -> Sequence[Log]:
        """Each program's log; that of a forward is `forward/NAME`, since `NAME` means its pods' logs."""
        return file_logs(self.directory, "forward/" if self._are_forwards() else "")

    def _are_forwards(self) -> bool:
        return any(self.directory.glob("*/forward.json"))

    def stop(self, progress: Progress) -> Sequence[str]:
        """Stop every process; the state stays."""
        return self._processes.stop(progress)

    def ports(self, programs: Sequence[Program]) -> dict[str, int]:
        """The port of each: where it runs now, else its own if that is free, else any free one."""
        states, ports = self._processes.states(), dict[str, int]()
        for program in programs:
            state = states.get(program.name)
            if state is not None and process.find(state) is not None:
                ports[program.name] = state.port
        for program in programs:
            if program.name not in ports:
                wanted = program.port
                free = wanted and wanted not in ports.values() and is_free(wanted)
                ports[program.name] = wanted if free else free_port(besides=ports.values())
        return ports

    def _plan(self, program: Program, ports: Mapping[str, int], edition: Edition, seconds: float) -> Program:
        port = ports[program.name]
        pattern = {**(program.config or {}), "port": port}
        config = _expanded(pattern, lambda match: self._value(match, program.name, ports, edition))
        return replace(on_this_machine(program), port=port, config=config, ready_seconds=seconds)

    def _value(self, match: re.Match[str], program: str, ports: Mapping[str, int], edition: Edition) -> str:
        kind, name, word = match.groups()
        if kind == "secret":
            return str(self.secret(name))
        if kind == "url":
            if name not in ports:
                raise UsageError(
                    f"`{match[0]}` does not name a workload", hint=f"The workloads are {', '.join(ports)}"
                )
            return f"http://localhost:{ports[name]}"
        values = {"directory": str(self.directory / program), "edition": edition.name}
        return values.get(word, edition.exercises)

    def _new_secret(self, name: str) -> bytes:
        if name.startswith("signing-key"):
            from workshop.toolhive.secrets import new_signing_key

            return new_signing_key()
        if name.startswith("pat-"):
            from workshop.servers.practice.client import access_token

            app = self.secret(_CLIENT_SECRET).read_text("utf-8")
            return access_token(app, name.removeprefix("pat-"), _SCOPES).encode()
        return secrets.token_urlsafe(_RANDOM_BYTES).encode()


def _expanded(pattern: Any, value: Callable[[re.Match[str]], str]) -> Any:  # noqa: ANN401 - JSON
    if isinstance(pattern, str):
        return _PLACEHOLDER.sub(value, pattern)
    if isinstance(pattern, Mapping):
        return {key: _expanded(inner, value) for key, inner in pattern.items()}
    return [_expanded(inner, value) for inner in pattern] if isinstance(pattern, list) else pattern


@dataclass(frozen=True)
class Running:
    """A running variation: its processes, its endpoints by name, and the programs that were started.

    On a cluster, its processes are port-forwards.
    """

    variation: Variation
    programs: VariationPrograms
    endpoints: Mapping[str, str]
    started: Sequence[str] = ()
    on_cluster: bool = False

    @property
    def url(self) -> str:
        """The MCP server that the agent talks to."""
        return self.endpoints[self.variation.name]

    @property
    def directory(self) -> Path:
        """It has a folder for each program, with `config.json`, `log.txt` and its data."""
        return self.programs.directory

    def secret(self, name: str) -> bytes:
        return self.programs.secret(name).read_bytes()

    def headers(self, user: str | None = None) -> dict[str, str]:
        """The headers that the agent adds, as this practice user."""
        named = self.variation.contents.headers.items() if not self.on_cluster else ()
        person = user if user in _PEOPLE else _PEOPLE[0]  # the login rejects an unknown user
        return {name: self.secret(secret.replace("{user}", person)).decode() for name, secret in named}

    def agent_endpoints(self, user: str | None = None) -> "Endpoints":
        """Where the part's agent finds this variation."""
        # It loads the MCP SDK, which `status` and `teardown` do not need.
        from workshop.agent.run import Endpoints

        return Endpoints({**self.endpoints, PROXY: self.url}, self.headers(user))


def runs_on_cluster(variation: Variation) -> bool:
    """Whether a cluster is up on which `run` applies this variation's manifests instead of its programs."""
    record = Instance.load().record
    has_manifests = (variation.directory / "toolhive").is_dir()
    return has_manifests and record is not None and record.backend != "embedded"


def programs_of(variation: Variation, directory: Path | None = None) -> VariationPrograms:
    """The processes of a variation, with their state below the instance or below `directory`."""
    return VariationPrograms((directory or _directory()) / variation.name)


@contextmanager
def variation_running(
    variation: Variation, directory: Path, *, edition: str = "mended", exercises: Path | None = None
) -> Iterator[Running]:
    """A variation with its own state and free ports, which ends with the block."""
    with quiet_progress() as quiet:
        try:
            yield start(
                variation, quiet, weak=edition == "weak", exercises=exercises, directory=directory, free=True
            )
        finally:
            programs_of(variation, directory).stop(quiet)


def start(
    variation: Variation,
    progress: Progress,
    *,
    weak: bool = False,
    exercises: Path | None = None,
    directory: Path | None = None,
    free: bool = False,
    prepared: bool = True,
) -> Running:
    """Make sure a variation's programs run and are prepared; those that run are not restarted."""
    processes = programs_of(variation, directory)
    edition = Edition("weak" if weak else "mended", str(exercises or ""))
    programs = [replace(program, port=0 if free else program.port) for program in variation.programs]
    applied = processes.start(programs, edition, variation.contents.timeouts.ready, progress)
    running = Running(variation, processes, applied.endpoints, applied.started)
    if prepared and variation.contents.prepare.run:
        prepare(running, progress, edition)
    return running


def prepare(running: Running, progress: Progress, edition: Edition, *words: str) -> Sequence[str]:
    """Run the script that sets a variation up, or with `--cleanup` undoes that; the lines it wrote.

    Raises WorkshopError with the script's own message when it fails.
    """
    script = running.variation.contents.prepare
    path = running.directory / "prepare" / "config.json"
    config = running.programs.expand(script.config, edition)
    # In a private file: the configuration may hold secrets, and every user can list arguments.
    write_private(path, json.dumps(config, indent=2).encode())
    argv = [sys.executable, str(running.variation.directory / script.run), "--config", str(path), *words]
    label = f"Run {script.run} {' '.join(words)}".rstrip()
    with progress.step(label) as step:
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=_PREPARE_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise DeadlineError(f"`{script.run}` did not end within {_PREPARE_SECONDS} s") from error
        if done.returncode:
            raise _script_error(done.stderr, script.run)
        lines = [unbroken(line) for line in done.stdout.splitlines()]
        step.note(f"{len(lines)} steps")
    return lines


def _script_error(stderr: str, script: str) -> WorkshopError:
    """The error that a script wrote to stderr: `Error: …`, why, and `Hint: …`."""
    lines = [one_line(line, 300) for line in stderr.splitlines() if line.strip()]
    first = next((number for number, line in enumerate(lines) if line.startswith("Error: ")), None)
    if first is None:
        return WorkshopError(f"`{script}` failed", why=lines[-1] if lines else "It wrote no message")
    what, *more = lines[first:]
    hint = next((line.removeprefix("Hint: ") for line in more if line.startswith("Hint: ")), "")
    why = " ".join(line for line in more if not line.startswith("Hint: "))
    return WorkshopError(what.removeprefix("Error: "), why=why, hint=hint)


def serve_command(variation: Variation, config: Path | None, *words: str) -> tuple[str, ...]:
    """The arguments that start a variation's own server with a configuration file, and these words.

    Without `config`, it is that of the running variation; raises UsageError when it does not run.
    """
    (program,) = (each for each in variation.programs if each.name == variation.name)
    running = programs_of(variation)
    if config is None and runs_on_cluster(variation):
        raise UsageError(
            f"The {variation.label} is ToolHive's gateway on this cluster",
            hint="`workshop status` shows it, and `kubectl describe virtualmcpserver` what it found",
        )
    if config is None and variation.name not in running.endpoints():
        raise UsageError(f"The {variation.label} is not running", hint=f"`{variation.start_command}`")
    file = config or running.directory / variation.name / "config.json"
    return (*on_this_machine(program).argv, "--config", str(file), *words)


def construct(
    variation: Variation, progress: Progress, *, cleanup: bool, dry_run: bool = False
) -> Sequence[str]:
    """Run the script that sets a variation up, or undoes that, with its programs running.

    With `dry_run` the programs run too, but nothing is set up or undone.
    """
    with Instance.locate().lock():
        if cleanup and not programs_of(variation).directory.exists():
            return ()
        running = start(variation, progress, prepared=False)
        options = {"--cleanup": cleanup, "--dry-run": dry_run}
        return prepare(running, progress, Edition(), *(word for word, wanted in options.items() if wanted))


def stop_all(progress: Progress) -> Sequence[str]:
    """Stop the programs of every variation, remove their state and the agent's logins there.

    Returns the names of the programs that were stopped.
    """
    stopped: list[str] = []
    for variation in started_variations():
        # Before `stop`, which removes the record of the addresses.
        _forget_logins(variation.endpoints().values())
        stopped += variation.stop(progress)
    # Also what a variation that never became ready has left.
    shutil.rmtree(_directory(), ignore_errors=True)
    return stopped


def _forget_logins(urls: Collection[str]) -> None:
    if urls:
        from workshop.agent.token_store import TokenStore  # its files are models of the SDK

        logins = TokenStore(Instance.locate().logins)
        for url in urls:
            logins.forget(url)


def started_variations() -> Sequence[VariationPrograms]:
    """The processes of each variation that was started."""
    return [VariationPrograms(path) for path in sorted(_directory().glob("*")) if path.is_dir()]


def _directory() -> Path:
    return Instance.locate().directory / "variations"
