"""Run a part or a variation: its workloads first, then the part's `main.py`."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from workshop.agent.part import RunContext
from workshop.agent.run import RunOptions, load_answer, run_answer
from workshop.core.console import Console, Progress
from workshop.core.errors import CredentialsError, WorkshopError
from workshop.core.instance import Instance
from workshop.core.settings import Settings
from workshop.course.environment import deploy, ensure, prove
from workshop.course.lessons import Lesson, Variation
from workshop.course.practice_record import practice_upstream, require_token_swap, upstream_of
from workshop.course.progress import ProgressFile, exercise_folder
from workshop.course.variation_run import Running, runs_on_cluster, start
from workshop.lab.choose import seat_of
from workshop.lab.tools.run import runner_for
from workshop.recorder.model import UNKNOWN, Upstream


def run_lesson(lesson: Lesson, options: RunOptions, console: Console) -> str:
    """Make sure the part's workloads run, ask its agent, and return the answer."""
    context = _context(lesson, options, console)
    answer = load_answer(lesson.directory)
    with console.progress() as progress:
        ensure(lesson, progress, context.settings, runner_for(progress))
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
        return deploy(variation, progress, context.settings, runner_for(progress))
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
        prove(lesson, progress, context)


def learners_files(variation: Variation, console: Console) -> Path:
    """The folder of the learner's files of this variation's exercises; it may not exist."""
    return exercise_folder(ProgressFile(console.warn).read()) / f"part{variation.key}"


def variation_upstream(running: Running) -> Upstream:
    """The practice GitHub of a variation, for the flight recorder; UNKNOWN for one without."""
    url = running.endpoints.get(f"{running.variation.name}-github")
    return practice_upstream(url) if url else UNKNOWN
