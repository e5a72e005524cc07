"""The rehearsal: start everything, run every part unattended, check its result, tear down."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from workshop.agent.run import RunOptions
from workshop.core.console import Console
from workshop.core.errors import CheckError, PreflightError, WorkshopError
from workshop.core.instance import Instance
from workshop.course import environment
from workshop.course.lessons import Lesson
from workshop.course.practice_record import require_token_swap
from workshop.course.run import run_lesson
from workshop.lab.base import BackendName
from workshop.lab.choose import seat_of

_OPTIONS = RunOptions(approve_as="learner", rehearsal_model=True)


@dataclass(frozen=True)
class Outcome:
    """One step of the rehearsal: whether it succeeded, its seconds, and its result."""

    name: str
    held: bool
    seconds: float
    shown: str


def is_watched(console: Console) -> bool:
    """Whether a person is at the terminal, and has asked for neither more nor less than usual."""
    return console.can_ask and sys.stdout.isatty() and not console.verbosity


class Rehearsal:
    """Runs the steps one after another, also after one has failed."""

    def __init__(self, lessons: Sequence[Lesson], console: Console) -> None:
        self._lessons = lessons
        self._console = console
        self.outcomes: list[Outcome] = []

    def run(
        self, *, ports: Mapping[str, int], keep: bool, backend: BackendName | None = None
    ) -> Sequence[Outcome]:
        """Run everything; what was up before stays up, and with `keep` everything does.

        Without `backend`, it is the one that is up, otherwise the embedded one, which starts quickly.
        Raises PreflightError when this instance is up with the real GitHub.
        """
        before = Instance.load()
        if seat_of(before.directory):
            raise PreflightError(
                "A rehearsal uses a practice GitHub of its own, and this instance is a seat of a room",
                hint="`workshop --instance rehearsal rehearse` runs it beside the seat",
            )
        if before.upstream == "github":
            raise PreflightError(
                "A rehearsal uses the practice GitHub, and the real one is up",
                hint="Run `workshop teardown` first",
            )
        try:
            if self._step("up", lambda: self._up(ports, backend or environment.backend_now() or "embedded")):
                for lesson in self._lessons:
                    self._step(lesson.label, lambda lesson=lesson: self._part(lesson), lesson.heading)  # type: ignore[misc]
        finally:
            # What was up before belongs to somebody: it stays.
            if before.record is None and not keep:
                self._step("teardown", self._teardown)
        return self.outcomes

    def _step(self, name: str, act: Callable[[], str], title: str = "") -> bool:
        started = time.monotonic()
        try:
            with self._shown(title or name) as note:
                shown, held = act(), True
                note(shown)
        except WorkshopError as error:
            self._console.error(error)
            shown, held = error.what, False
        self.outcomes.append(Outcome(name, held, time.monotonic() - started, shown))
        return held

    @contextlib.contextmanager
    def _shown(self, label: str) -> Iterator[Callable[[str], None]]:
        """One line for a step on a terminal, where people watch; in a log, all that the step prints."""
        if not is_watched(self._console):
            self._console.say(f"── {label} ──", "bold")
            yield lambda _: None
            return
        with self._console.progress() as progress, progress.step(label) as step:
            self._console.verbosity = -1  # as `--quiet` does
            try:
                yield step.note
            finally:
                self._console.verbosity = 0

    def _up(self, ports: Mapping[str, int], backend: BackendName) -> str:
        options = environment.UpOptions(backend=backend, upstream="practice", ports=ports)
        with self._console.progress() as progress:
            report = environment.up(self._lessons, progress, options)
        started = f"{len(report.started)} workloads started, {len(report.kept)} already running"
        return f"{backend} backend: {started}"

    def _part(self, lesson: Lesson) -> str:
        answer = run_lesson(lesson, _OPTIONS, self._console)
        missing = [fact for fact in lesson.contents.expect if fact not in answer]
        if missing:
            raise CheckError(f"The answer does not name {missing[0]}", why=f"It was: {answer}")
        deployment = lesson.deployment()
        if deployment and deployment.resources.of("MCPRemoteProxy"):
            answer += f" [{require_token_swap(Instance.load())}]"
        return answer

    def _teardown(self) -> str:
        with self._console.progress() as progress:
            stopped = environment.teardown(progress)
        return f"{len(stopped)} workloads stopped"
