"""Run one part: its workloads first, then its `main.py`."""

from workshop.agent.run import RunOptions, load_answer, run_answer
from workshop.console import Console
from workshop.lessons.environment import ensure
from workshop.lessons.find import Lesson
from workshop.settings import Settings


def run_lesson(lesson: Lesson, options: RunOptions, console: Console) -> str:
    """Make sure the part's workloads run, ask its agent, and return the answer."""
    console.hide(Settings.load(options.env_file).secrets())
    answer = load_answer(lesson.directory)
    with console.progress() as progress:
        ensure(lesson, progress, env_file=options.env_file)
    return run_answer(lesson.directory, answer, options, console)
