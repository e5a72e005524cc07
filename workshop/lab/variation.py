"""A variation's programs as local processes, with ports, secrets and configuration of their own."""

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workshop.core.console import Progress
from workshop.core.errors import UsageError, WorkshopError
from workshop.core.paths import write_private
from workshop.core.ports import free_port, is_free
from workshop.lab import process
from workshop.lab.base import Applied, Program, WorkloadStatus
from workshop.lab.logs import Log, file_logs
from workshop.lab.process import on_this_machine

Mint = Callable[[str, str], str]
"""Makes a token of the practice GitHub from its OAuth app's secret and a user's name."""
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

    def __init__(self, directory: Path, mint: Mint) -> None:
        self.directory = directory
        self._processes = process.Supervisor(directory)
        self._mint = mint

    def start(
        self, programs: Sequence[Program], edition: Edition, seconds: float, progress: Progress
    ) -> Applied:
        """Start what does not run as described; a free port replaces a preferred one that is taken."""
        ports = self.ports(programs)
        try:
            return self._start(programs, ports, edition, seconds, progress)
        except WorkshopError:
            running = self.endpoints()
            if all(name in running or is_free(port) for name, port in ports.items()):
                raise
            # Another variation, started at the same moment, took the same free port first.
            return self._start(programs, self.ports(programs), edition, seconds, progress)

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
        return self._processes.status()

    def logs(self) -> Sequence[Log]:
        return file_logs(self.directory)

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
            app = self.secret(_CLIENT_SECRET).read_text("utf-8")
            return self._mint(app, name.removeprefix("pat-")).encode()
        return secrets.token_urlsafe(_RANDOM_BYTES).encode()


def _expanded(pattern: Any, value: Callable[[re.Match[str]], str]) -> Any:  # noqa: ANN401 - JSON
    if isinstance(pattern, str):
        return _PLACEHOLDER.sub(value, pattern)
    if isinstance(pattern, Mapping):
        return {key: _expanded(inner, value) for key, inner in pattern.items()}
    return [_expanded(inner, value) for inner in pattern] if isinstance(pattern, list) else pattern
