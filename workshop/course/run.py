"""Run a part or a variation: its workloads first, then the part's `main.py`; the rehearsal runs every part.

A rehearsal starts everything, runs the parts without a person, checks each result, and tears down.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from workshop.agent.part import RunContext
from workshop.agent.run import RunOptions, load_answer, run_answer
from workshop.core.console import Console, Progress
from workshop.core.errors import CheckError, CredentialsError, PreflightError, WorkshopError
from workshop.core.instance import Instance
from workshop.core.settings import Settings
from workshop.course import environment
from workshop.course.lessons import Lesson, Variation
from workshop.course.practice_record import practice_upstream, require_token_swap, upstream_of
from workshop.course.progress import ProgressFile, exercise_folder
from workshop.course.variation_run import Running, runs_on_cluster, start
from workshop.lab.base import BackendName
from workshop.lab.choose import seat_of
from workshop.lab.tools.run import runner_for
from workshop.recorder.model import UNKNOWN, Upstream

_UNATTENDED = RunOptions(approve_as="learner", rehearsal_model=True, attended=False)


def run_lesson(lesson: Lesson, options: RunOptions, console: Console) -> str:
    """Make sure the part's workloads run, ask its agent, and return the answer."""
    context = _context(lesson, options, console)
    answer = load_answer(lesson.directory)
    with console.progress() as progress:
        environment.ensure(lesson, progress, context.settings, runner_for(progress))
    try:
        text = run_answer(
            context, answer, _in_a_seat(options, context), console, upstream_of(context.instance)
        )
    # It names its cause already.
    except CredentialsError:
        raise
    except WorkshopError:
        _prove(lesson, context, console)  # raises instead if the upstream token is the cause
        raise
    _prove(lesson, context, console)
    return text


def token_swap_lines(lesson: Lesson, began: datetime) -> Sequence[str]:
    """What the practice GitHub has received since `began`; empty for a part without a login to it.

    A swap that fails the check is a line too: the run itself has succeeded.
    """
    deployment, instance = lesson.deployment(), Instance.load()
    proxied = deployment is not None and deployment.resources.of("MCPRemoteProxy")
    if not proxied or upstream_of(instance) is UNKNOWN:
        return ()
    try:
        return (require_token_swap(instance, since=began),)
    except WorkshopError as error:
        return (f"The token swap is not proved: {error.what}",)


def run_variation(
    variation: Variation, options: RunOptions, console: Console, *, weak: bool = False
) -> tuple[str, Running]:
    """Make sure the variation runs, ask the part's agent, and return the answer."""
    context = _context(variation, options, console)
    answer = load_answer(variation.part.directory)
    with console.progress() as progress:
        running = _running(variation, context, console, progress, weak=weak)
    endpoints = running.agent_endpoints(options.approve_as)
    console.hide(list(endpoints.headers.values()))
    text = run_answer(context, answer, options, console, variation_upstream(running), endpoints=endpoints)
    return text, running


def _running(
    variation: Variation, context: RunContext, console: Console, progress: Progress, *, weak: bool
) -> Running:
    if runs_on_cluster(variation):
        return environment.deploy(variation, progress, context.settings, runner_for(progress))
    with context.instance.lock():
        return start(variation, progress, weak=weak, exercises=learners_files(variation, console))


def _context(lesson: Lesson, options: RunOptions, console: Console) -> RunContext:
    settings = Settings.load(options.env_file)
    console.hide(settings.secrets())
    return RunContext(lesson.directory, lesson.contents, settings, Instance.load())


def _in_a_seat(options: RunOptions, context: RunContext) -> RunOptions:
    """The options with the practice user of a room's seat, if this instance has one."""
    seat = seat_of(context.instance.directory)
    user = seat.about.practice.user if seat and seat.about.practice else options.practice_user
    return replace(options, practice_user=user)


def _prove(lesson: Lesson, context: RunContext, console: Console) -> None:
    with console.progress() as progress:
        environment.prove(lesson, progress, context)


def learners_files(variation: Variation, console: Console) -> Path:
    """The folder of the learner's files of this variation's exercises; it may not exist."""
    return exercise_folder(ProgressFile(console.warn).read()) / f"part{variation.key}"


def variation_upstream(running: Running) -> Upstream:
    """The practice GitHub of a variation, for the flight recorder; UNKNOWN for one without."""
    url = running.endpoints.get(f"{running.variation.name}-github")
    return practice_upstream(url) if url else UNKNOWN


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
        answer = run_lesson(lesson, _UNATTENDED, self._console)
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
