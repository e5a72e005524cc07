"""Checks in this process: what the child would tell of a part, or of a part made for the test."""

from collections.abc import Callable
from pathlib import Path

import pytest

from workshop.core.paths import parts_dir
from workshop.course.check_child import run_job
from workshop.course.check_outcome import Job, Outcome
from workshop.course.exercise import Exercise, exercises_of
from workshop.course.lessons import find_lessons

Judge = Callable[..., dict[str, Outcome]]
MakePart = Callable[[str], Path]
ALL = [found for lesson in find_lessons(parts_dir()) for found in exercises_of(lesson)]


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Judge:
    """Run checks here, on an empty state directory unless the test has filled it; outcomes by name."""
    monkeypatch.setenv("WORKSHOP_HOME", str(tmp_path / "state"))

    def run(directory: Path, *, ran: bool = True, **job: object) -> dict[str, Outcome]:
        told: list[Outcome] = []

        def hear(line: dict[str, object]) -> None:
            if "outcome" in line:
                told.append(Outcome(**line["outcome"]))  # type: ignore[arg-type]

        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        run_job(Job(str(directory), str(scratch), ran, **{"works": {}, **job}), hear, pause=0)  # type: ignore[arg-type]
        return {outcome.name: outcome for outcome in told}

    return run


@pytest.fixture
def make_part(tmp_path: Path) -> MakePart:
    """A part whose `checks.py` is this."""

    def make(checks: str) -> Path:
        folder = tmp_path / "parts" / "09_made_up"
        folder.mkdir(parents=True)
        (folder / "part.toml").write_text('title = "t"\nsummary = "s"\nquestion = "q"\n', encoding="utf-8")
        source = f"from workshop.course.checks import *\nfrom workshop.course.checks import check\n{checks}"
        (folder / "checks.py").write_text(source, encoding="utf-8")
        return folder

    return make


def called(exercise: Exercise) -> str:
    return f"{exercise.part}.{exercise.number}"
