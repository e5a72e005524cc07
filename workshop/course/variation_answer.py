"""Ask a variation the part's question: the same agent, another address."""

from pathlib import Path

from workshop.agent.run import RunOptions, load_answer, run_answer
from workshop.core.console import Console
from workshop.core.instance import Instance
from workshop.core.settings import Settings
from workshop.course.flight import practice_upstream
from workshop.course.progress import ProgressFile, exercise_folder
from workshop.course.variation_run import Running, start
from workshop.course.variations import Variation
from workshop.course.witness import API, token_swap
from workshop.recorder.hop import UNKNOWN, Upstream


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
    text = run_answer(variation.directory, answer, options, console, upstream_of(running), place=place)
    return text, running


def learners_files(variation: Variation, console: Console) -> Path:
    """The folder with what the learner has begun of this variation's exercises; it may not be there."""
    return exercise_folder(ProgressFile(console.warn).read()) / f"part{variation.key}"


def upstream_of(running: Running) -> Upstream:
    """The practice GitHub of a variation, for the flight recorder; one without has none."""
    url = running.endpoints.get(f"{running.variation.name}-github")
    return practice_upstream(url) if url else UNKNOWN


def witnessed(running: Running) -> str:
    """What the variation's practice GitHub saw of our tokens; raises CheckError for wrong ones."""
    github = running.endpoints[f"{running.variation.name}-github"]
    return token_swap(github, running.url, Instance.load().directory / "logins", API)
