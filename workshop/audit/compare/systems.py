"""The systems that are compared; each runs in a temporary directory on free ports, beside the instance."""

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from workshop.core.console import Console, Progress
from workshop.core.errors import UsageError, WorkshopError
from workshop.core.ports import free_port, is_free
from workshop.course.lessons import Lesson, Variation, variations_of
from workshop.course.variation_run import PROXY, Running, prepare, variation_running
from workshop.lab import process
from workshop.lab.base import PRACTICE_GITHUB, Choices, Program
from workshop.lab.embedded import EmbeddedBackend
from workshop.lab.process import ProcessState
from workshop.lab.variation import Edition

OWN_WAY = "toolhive"
"""What part 4 itself is called among its variations."""
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
        """Where the agent's `main.py` is."""
        return self.lesson.part.directory if isinstance(self.lesson, Variation) else self.lesson.directory


@dataclass(frozen=True)
class Room:
    """One system that runs: where it answers, what its agent sends along, and what it keeps."""

    system: System
    url: str
    endpoints: Mapping[str, str]
    directory: Path
    """A folder for each program; what the system keeps is in there."""
    secrets: Path
    """What was made for this room beforehand: keys, client secrets, personal tokens."""
    server: str
    github: str | None
    client_secret: Path | None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    running: Running | None = None

    def states(self) -> Mapping[str, ProcessState]:
        """Every program that was started."""
        return process.read_states(self.directory)

    def stop_server(self) -> None:
        """End all programs but the practice GitHub."""
        for name, state in self.states().items():
            if name != self.github:
                process.stop(state)

    def restart_server(self) -> None:
        """End the server that the agent talks to, and start it again: its memory is gone, its files are not.

        Raises WorkshopError or DeadlineError when it does not come back.
        """
        state = self.states()[self.server]
        found = process.find(state)
        if found is None:
            raise WorkshopError(f"`{self.server}` has ended by itself")
        argv, environment = tuple(found.cmdline()), found.environ()
        process.stop(state)
        again = Program(state.name, argv, state.port, urlsplit(state.url).path, env=environment)
        process.wait_ready(process.start(again, self.directory), _READY_SECONDS)

    def take_back(self) -> Sequence[str]:
        """Run the system's own clean-up, where it has one; the lines it wrote."""
        running = self.running
        if running is None or not running.variation.contents.prepare.run:
            return ()
        with quiet() as progress:
            return prepare(running, progress, Edition(), "--cleanup")


def systems_of(lesson: Lesson, only: Sequence[str] = (), *, weak: bool = False) -> tuple[System, ...]:
    """What is to be compared: the part and its variations, or those named.

    With `weak`, one that has a weak edition comes a second time. Raises UsageError for a name there is not,
    and where no system named has such an edition.
    """
    known: list[System] = [System(OWN_WAY, lesson)]
    known += [System(variation.name, variation) for variation in variations_of(lesson)]
    names = [system.name for system in known]
    for name in only:
        if name not in names:
            raise UsageError(f"There is no `{name}` to compare", hint=f"There are {', '.join(names)}")
    chosen = [system for system in known if not only or system.name in only]
    found = tuple(edition for system in chosen for edition in _editions(system, weak=weak))
    if weak and not any(system.weak for system in found):
        raise UsageError(
            f"There is no weak edition of {', '.join(only)}", hint="`--only worker --weak` has one"
        )
    return found


def _editions(system: System, *, weak: bool) -> Iterator[System]:
    yield system
    if weak and isinstance(system.lesson, Variation) and system.lesson.has_editions:
        yield System(f"{system.name}{_WEAK}", system.lesson, weak=True)


@contextlib.contextmanager
def room_for(system: System, directory: Path) -> Iterator[Room]:
    """A system that runs while the block does, below `directory`.

    Raises WorkshopError when it does not start.
    """
    opened = (
        _variation(system, directory) if isinstance(system.lesson, Variation) else _part(system, directory)
    )
    with opened as room:
        yield room


@contextlib.contextmanager
def _variation(system: System, directory: Path) -> Iterator[Room]:
    variation = system.lesson
    if not isinstance(variation, Variation):
        raise TypeError("only a variation runs by itself")
    edition = "weak" if system.weak else "mended"
    with variation_running(variation, directory, edition=edition) as running:
        github = f"{variation.name}-github"
        has_github = github in running.endpoints
        secrets = running.directory / "secrets"
        yield Room(
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
def _part(system: System, directory: Path) -> Iterator[Room]:
    home = directory / system.name
    backend = EmbeddedBackend(home)
    deployment = system.lesson.deployment()
    if deployment is None:
        raise TypeError("a part without manifests has no gateway")
    ports: dict[str, int] = {}
    for name in (PROXY, PRACTICE_GITHUB):
        ports[name] = free_port(besides=ports.values())
    with quiet() as progress:
        try:
            backend.apply([deployment], Choices("practice", ports=ports), progress)
            running = {status.name: status.url for status in backend.status()}
            secrets = home / "secrets"
            yield Room(
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


@contextlib.contextmanager
def quiet() -> Iterator[Progress]:
    """Progress that nobody sees."""
    with Console(io.StringIO(), io.StringIO()).progress() as progress:
        yield progress


def still_there(directory: Path, ports: Sequence[int]) -> tuple[list[int], list[int]]:
    """The process ids that still belong to a room, and its ports that are still taken."""
    pids = [stray.pid for stray in process.strays(directory) if psutil.pid_exists(stray.pid)]
    return pids, [port for port in ports if not is_free(port)]
