"""The systems that are compared; each runs in a temporary directory on free ports, beside the instance."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from workshop.core.errors import UsageError, WorkshopError
from workshop.core.ports import free_port, is_free
from workshop.course.lessons import Lesson, Variation, variations_of
from workshop.course.variation_run import PROXY, Edition, Running, prepare, variation_running
from workshop.lab import process
from workshop.lab.base import PRACTICE_GITHUB, Choices, Program, quiet_progress
from workshop.lab.embedded import EmbeddedBackend
from workshop.lab.process import ProcessState

PART_ITSELF = "toolhive"
"""The name of part 4 among its variations."""
_WEAK = " (weak)"
_READY_SECONDS = 15.0


@dataclass(frozen=True)
class System:
    """One way to do part 4: the part itself or a variation of it, in one edition."""

    name: str
    lesson: Lesson
    weak: bool = False

    @property
    def title(self) -> str:
        return self.lesson.contents.title

    @property
    def main_directory(self) -> Path:
        """The folder of the agent's `main.py`."""
        return self.lesson.part.directory if isinstance(self.lesson, Variation) else self.lesson.directory


@dataclass(frozen=True)
class RunningSystem:
    """One system that runs: its addresses, its files, and the headers that its agent adds."""

    system: System
    url: str
    endpoints: Mapping[str, str]
    directory: Path
    """Has a folder for each program, with everything that the program stores."""
    secrets: Path
    """Created before the start: keys, client secrets, personal tokens."""
    server: str
    """The program among `endpoints` to which the agent connects."""
    github: str | None
    """The practice GitHub among `endpoints`; None if the system has none."""
    client_secret: Path | None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    variation: Running | None = None

    def states(self) -> Mapping[str, ProcessState]:
        """The state of every program that was started, by its name."""
        return process.read_states(self.directory)

    def stop_server(self) -> None:
        """Stop all programs except the practice GitHub."""
        for name, state in self.states().items():
            if name != self.github:
                process.stop(state)

    def restart_server(self) -> None:
        """Restart the agent's server, which loses its memory but not its files.

        Raises WorkshopError or DeadlineError if it does not start again.
        """
        state = self.states()[self.server]
        found = process.find(state)
        if found is None:
            raise WorkshopError(f"`{self.server}` ended unexpectedly")
        # Asked of the process, because a part and a variation start their servers in different ways.
        argv, environment = tuple(found.cmdline()), found.environ()
        process.stop(state)
        again = Program(state.name, argv, state.port, urlsplit(state.url).path, env=environment)
        process.wait_ready(process.start(again, self.directory), _READY_SECONDS)

    def undo_preparation(self) -> Sequence[str]:
        """Run the system's own clean-up, if it has one, and return the lines that it printed."""
        running = self.variation
        if running is None or not running.variation.contents.prepare.run:
            return ()
        with quiet_progress() as progress:
            return prepare(running, progress, Edition(), "--cleanup")


def systems_of(lesson: Lesson, only: Sequence[str] = (), *, weak: bool = False) -> tuple[System, ...]:
    """The systems to compare: the part and its variations, or only those named.

    With `weak`, a system that has a weak edition is followed by it. Raises UsageError for an unknown name,
    and if none of the named systems has a weak edition.
    """
    known: list[System] = [System(PART_ITSELF, lesson)]
    known += [System(variation.name, variation) for variation in variations_of(lesson)]
    names = [system.name for system in known]
    for name in only:
        if name not in names:
            raise UsageError(f"Unknown system `{name}`", hint=f"Choose from {', '.join(names)}")
    chosen = [system for system in known if not only or system.name in only]
    found = tuple(edition for system in chosen for edition in _editions(system, weak=weak))
    if weak and not any(system.weak for system in found):
        raise UsageError(
            f"{', '.join(only)} has no weak edition",
            hint="The worker has one: `workshop part 4 compare --only worker --weak`",
        )
    return found


def _editions(system: System, *, weak: bool) -> Iterator[System]:
    yield system
    if weak and isinstance(system.lesson, Variation) and system.lesson.has_editions:
        yield System(f"{system.name}{_WEAK}", system.lesson, weak=True)


def running_system(system: System, directory: Path) -> contextlib.AbstractContextManager[RunningSystem]:
    """Run a system below `directory` for as long as the block; raises WorkshopError if it does not start."""
    if isinstance(system.lesson, Variation):
        return _variation(system, system.lesson, directory)
    return _part(system, directory)


@contextlib.contextmanager
def _variation(system: System, variation: Variation, directory: Path) -> Iterator[RunningSystem]:
    edition = "weak" if system.weak else "mended"
    with variation_running(variation, directory, edition=edition) as running:
        github = f"{variation.name}-github"
        has_github = github in running.endpoints
        secrets = running.directory / "secrets"
        yield RunningSystem(
            system,
            running.url,
            running.endpoints,
            running.directory,
            secrets,
            variation.name,
            github if has_github else None,
            secrets / "client-secret" if has_github else None,
            running.headers(),
            running,
        )


@contextlib.contextmanager
def _part(system: System, directory: Path) -> Iterator[RunningSystem]:
    home = directory / system.name
    backend = EmbeddedBackend(home)
    deployment = system.lesson.deployment()
    if deployment is None:
        raise TypeError("a part without manifests has no gateway")
    ports: dict[str, int] = {}
    for name in (PROXY, PRACTICE_GITHUB):
        ports[name] = free_port(besides=ports.values())  # nothing listens at the first one yet
    with quiet_progress() as progress:
        try:
            backend.apply([deployment], Choices("practice", ports=ports), progress)
            running = {status.name: status.url for status in backend.status()}
            secrets = home / "secrets"
            yield RunningSystem(
                system,
                running[PROXY],
                running,
                home / "workloads",
                secrets,
                PROXY,
                PRACTICE_GITHUB,
                secrets / PRACTICE_GITHUB / "client-secret",
            )
        finally:
            backend.teardown(progress)


def remains(directory: Path, ports: Sequence[int]) -> tuple[list[int], list[int]]:
    """The ids of the system's processes that still run, and those of its ports that are still taken."""
    pids = [stray.pid for stray in process.strays(directory) if psutil.pid_exists(stray.pid)]
    return pids, [port for port in ports if not is_free(port)]
