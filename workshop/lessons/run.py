"""Run one part: its workloads first, then its `main.py`."""

from workshop.agent.run import RunOptions, load_answer, run_answer
from workshop.console import Console
from workshop.errors import CredentialsError, WorkshopError
from workshop.instance import Instance
from workshop.lessons.environment import ensure, prove, runner_for
from workshop.lessons.find import Lesson
from workshop.lessons.flight import upstream_of
from workshop.settings import Settings


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
