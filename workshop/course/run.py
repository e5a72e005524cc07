"""Run a part or a variation: its workloads first, then the part's `main.py`."""

from pathlib import Path

from workshop.agent.run import RunOptions, load_answer, run_answer
from workshop.core.console import Console
from workshop.core.errors import CredentialsError, WorkshopError
from workshop.core.instance import Instance
from workshop.core.settings import Settings
from workshop.course.environment import ensure, prove
from workshop.course.lessons import Lesson, Variation
from workshop.course.practice_record import practice_upstream, upstream_of
from workshop.course.progress import ProgressFile, exercise_folder
from workshop.course.variation_run import Running, start
from workshop.lab.tools.run import runner_for
from workshop.recorder.hop import UNKNOWN, Upstream


def run_lesson(lesson: Lesson, options: RunOptions, console: Console) -> str:
    """Make sure the part's workloads run, ask its agent, and return the answer."""
    console.hide(Settings.load(options.env_file).secrets())
    answer = load_answer(lesson.directory)
    with console.progress() as progress:
        ensure(lesson, progress, env_file=options.env_file, runner=runner_for(progress))
    try:
        text = run_answer(lesson.directory, answer, options, console, upstream_of(Instance.load()))
    except CredentialsError:
        raise
    except WorkshopError:
        _prove(lesson, options, console)  # it may know better what is wrong
        raise
    _prove(lesson, options, console)
    return text


def _prove(lesson: Lesson, options: RunOptions, console: Console) -> None:
    with console.progress() as progress:
        prove(lesson, progress, env_file=options.env_file)


def run_variation(
    variation: Variation, options: RunOptions, console: Console, *, weak: bool = False
) -> tuple[str, Running]:
    """Make sure the variation runs, ask the part's agent, and return the answer."""
    console.hide(Settings.load(options.env_file).secrets())
    answer = load_answer(variation.part.directory)
    with Instance.locate().lock(), console.progress() as progress:
        running = start(variation, progress, weak=weak, exercises=learners_files(variation, console))
    place = running.place(options.approve_as)
    console.hide(list(place.headers.values()))
    text = run_answer(variation.directory, answer, options, console, variation_upstream(running), place=place)
    return text, running


def learners_files(variation: Variation, console: Console) -> Path:
    """The folder with what the learner has begun of this variation's exercises; it may not be there."""
    return exercise_folder(ProgressFile(console.warn).read()) / f"part{variation.key}"


def variation_upstream(running: Running) -> Upstream:
    """The practice GitHub of a variation, for the flight recorder; one without has none."""
    url = running.endpoints.get(f"{running.variation.name}-github")
    return practice_upstream(url) if url else UNKNOWN
