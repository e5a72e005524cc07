"""Run one part: its workloads first, then its `main.py`."""

from workshop.agent.run import RunOptions, load_answer, run_answer
from workshop.core.console import Console
from workshop.core.errors import CredentialsError, WorkshopError
from workshop.core.instance import Instance
from workshop.core.settings import Settings
from workshop.course.environment import ensure, prove, runner_for
from workshop.course.find import Lesson
from workshop.course.flight import upstream_of


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
