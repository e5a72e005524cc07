"""The processes under one directory, one folder each: start what changed, tell how they are, end them."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workshop import __version__
from workshop.core.console import Progress
from workshop.core.paths import write_private
from workshop.lab import process
from workshop.lab.base import WorkloadStatus
from workshop.lab.process import ProcessState, Workload


@dataclass(frozen=True)
class Planned:
    """A workload, and the configuration file to write before it starts."""

    workload: Workload
    config: Mapping[str, Any] | None = None


class LocalProcesses:
    """Detached processes, each with its state, its configuration and its log in a folder of its name."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def states(self) -> dict[str, ProcessState]:
        """What is written down of each, by name."""
        return process.read_states(self.directory)

    def current(self, planned: Sequence[Planned]) -> list[Planned]:
        """Those that run as planned, and are healthy."""
        states = self.states()
        return [item for item in planned if _is_current(item.workload, states.get(item.workload.name))]

    def prune(self, planned: Sequence[Planned], progress: Progress) -> None:
        """Stop what is not planned."""
        wanted = {item.workload.name for item in planned}
        for state in self.states().values():
            if state.name not in wanted:
                with progress.step(f"Stop {state.name}, which is no longer wanted"):
                    self._forget(state)

    def start(self, changed: Sequence[Planned], progress: Progress) -> None:
        """Start these, in place of what ran under their names; all of them or, where one fails, none."""
        states = self.states()
        for item in changed:
            if old := states.get(item.workload.name):
                process.stop(old)
        with ExitStack() as undo:
            started = []
            for item in changed:
                if item.config is not None:
                    path = self.directory / item.workload.name / "config.json"
                    write_private(path, json.dumps(item.config, indent=2).encode())
                started.append(process.start(item.workload, self.directory))
                undo.callback(self._forget, started[-1])
            for item, state in zip(changed, started, strict=True):
                with progress.step(f"Start {item.workload.name}") as step:
                    process.wait_ready(state, item.workload.ready_seconds)
                    step.note(item.workload.url)
            undo.pop_all()

    def status(self) -> Sequence[WorkloadStatus]:
        """Every process written down, and how it is now."""
        return [_status(state) for state in self.states().values()]

    def stop(self, progress: Progress) -> Sequence[str]:
        """Stop every process, also one that no state file speaks of; the names of those stopped."""
        states = reversed(self.states().values())
        running = [(state.name, found) for state in states if (found := process.find(state))]
        for _, found in running:
            process.terminate(found)  # all at once: each may take its time
        for name, found in running:
            with progress.step(f"Stop {name}"):
                process.end(found)
        stopped = [name for name, _ in running]
        for stray in process.strays(self.directory):
            with progress.step(f"Stop a process without a state file (pid {stray.pid})"):
                process.end(stray)
                stopped.append(f"pid {stray.pid}")
        return stopped

    def _forget(self, state: ProcessState) -> None:
        process.stop(state)
        process.state_path(self.directory, state.name).unlink(missing_ok=True)


def fingerprint(argv: Sequence[str], config: Mapping[str, Any], files: Iterable[Path]) -> str:
    """What a process was started with, so that a change is noticed."""
    digest = hashlib.sha256(json.dumps([__version__, argv, config], sort_keys=True).encode())
    for file in files:
        digest.update(file.read_bytes() if file.exists() else b"absent")
    return digest.hexdigest()


def files_beside(script: Path) -> list[Path]:
    """The files that a program may read: those in its folder."""
    return sorted(path for path in script.parent.iterdir() if path.is_file() and path.suffix != ".md")


def _is_current(workload: Workload, state: ProcessState | None) -> bool:
    return state is not None and state.fingerprint == workload.fingerprint and process.is_healthy(state)


def _status(state: ProcessState) -> WorkloadStatus:
    running = process.find(state)
    if running is None:
        return WorkloadStatus(state.name, "stopped", state.url, None, state.log)
    healthy = process.is_healthy(state)
    return WorkloadStatus(state.name, "running" if healthy else "unhealthy", state.url, state.pid, state.log)
