"""Exercises: a file with a gap is copied to the learner, whose work is never overwritten."""

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workshop.core.errors import PreflightError, UsageError, reason
from workshop.core.paths import create_file, replace_file
from workshop.course.lessons import Lesson

_FOLDER = re.compile(r"(\d+)_(\w+)")
_LEARNED = "\n## What you learned\n"
_MOST_LINES = 80
_MOST_KNOWN = 5
"""Lines for the known exercises in an error, which has six at most."""


@dataclass(frozen=True)
class Exercise:
    """One exercise of a part: its number there, and the folder with its task, start and solution."""

    part: int
    number: int
    directory: Path
    key: str = ""
    """The key of its lesson, unless that is the part itself (see `Lesson.key`)."""

    @property
    def task(self) -> str:
        """What is to be done, in Markdown; the rest of `task.md` is for afterwards."""
        return self._text.partition(_LEARNED)[0]

    @property
    def learned(self) -> tuple[str, ...]:
        """What a learner knows afterwards, a sentence or two on each line."""
        lines = self._text.partition(_LEARNED)[2].splitlines()
        return tuple(line.removeprefix("- ") for line in lines if line)

    @property
    def _text(self) -> str:
        return (self.directory / "task.md").read_text(encoding="utf-8")

    @property
    def title(self) -> str:
        """The task's first line, without its number."""
        return self.task.splitlines()[0].partition(": ")[2]

    @property
    def start(self) -> Path:
        return next(self.directory.glob("start.*"))

    @property
    def solution(self) -> Path:
        return next(self.directory.glob("solution.*"))

    def file(self, folder: Path) -> Path:
        """The learner's file below the folder for all exercises."""
        return folder / f"part{self.key or self.part}" / f"{self.directory.name}{self.start.suffix}"


@dataclass(frozen=True)
class Placed:
    """A file in the learner's folder, whether it was changed, and the copy of what it replaced."""

    file: Path
    changed: bool
    copy: Path | None = None


def exercises_of(lesson: Lesson) -> tuple[Exercise, ...]:
    """The exercises of a part, in order."""
    folders = sorted((lesson.directory / "exercises").glob("*_*"))
    matches = [(folder, _FOLDER.fullmatch(folder.name)) for folder in folders]
    return tuple(
        Exercise(lesson.number, int(match[1]), folder, lesson.key) for folder, match in matches if match
    )


def exercise_of(lesson: Lesson, number: int) -> Exercise:
    """One exercise of a part; raises UsageError if it does not exist."""
    exercises = exercises_of(lesson)
    for exercise in exercises:
        if exercise.number == number:
            return exercise
    known = [f"{exercise.number}  {exercise.title}" for exercise in exercises] or ["It has no exercises"]
    each = math.ceil(len(known) / _MOST_KNOWN)
    lines = ["; ".join(known[first : first + each]) for first in range(0, len(known), each)]
    raise UsageError(
        f"{lesson.title_label} has no exercise {number}; these are its exercises:", why="\n".join(lines)
    )


def begun(exercises: Sequence[Exercise], folder: Path) -> dict[int, Path]:
    """The learner's file of each exercise that is begun, by number."""
    files = {exercise.number: exercise.file(folder) for exercise in exercises}
    return {number: file for number, file in files.items() if file.is_file()}


def begin(exercise: Exercise, folder: Path) -> Placed:
    """Copy the start to the learner's folder; an existing file stays as it is."""
    file = exercise.file(folder)
    try:
        # Not a test and then a write: a file that appears between the two would be lost.
        create_file(file, exercise.start.read_bytes())
    except FileExistsError:
        return Placed(file, changed=False)
    except OSError as error:
        raise _refused(file, error) from error
    return Placed(file, changed=True)


def solve(exercise: Exercise, folder: Path) -> Placed:
    """Replace the learner's file with the solution, and save a copy beside it."""
    return _put(exercise, exercise.solution, exercise.file(folder))


def reset(exercise: Exercise, folder: Path) -> Placed:
    """Replace the learner's file with the start, and save a copy beside it."""
    return _put(exercise, exercise.start, exercise.file(folder))


def is_own_work(exercise: Exercise, file: Path) -> bool:
    """Whether a file differs from both the exercise's start and its solution."""
    return file.is_file() and file.read_bytes() not in (
        exercise.start.read_bytes(),
        exercise.solution.read_bytes(),
    )


def beside_solution(exercise: Exercise, file: Path) -> list[str]:
    """The lines that differ: `- ` before the learner's, `+ ` before the solution's; empty if none does."""
    solution = exercise.solution.read_text(encoding="utf-8").splitlines()
    own = file.read_text(encoding="utf-8", errors="replace").splitlines()
    # The first two lines name the files.
    lines = list(difflib.unified_diff(own, solution, n=1, lineterm=""))[2:]
    shown = ["  …" if line.startswith("@@") else f"{line[:1]} {line[1:]}" for line in lines[:_MOST_LINES]]
    return shown[1:] + (["  …"] if len(lines) > _MOST_LINES else [])


def _put(exercise: Exercise, source: Path, file: Path) -> Placed:
    wanted = source.read_bytes()
    try:
        if file.is_file() and file.read_bytes() == wanted:
            return Placed(file, changed=False)
        # The start and the solution are in the package; only own work could be lost.
        copy = _save_copy(file) if is_own_work(exercise, file) else None
        replace_file(file, wanted)
    except OSError as error:
        raise _refused(file, error) from error
    return Placed(file, changed=True, copy=copy)


def _save_copy(file: Path) -> Path:
    """Copy a file to the first free name beside it, so that a copy is never overwritten."""
    number = 1
    while True:
        copy = file.with_name(f"{file.stem}.mine-{number}{file.suffix}")
        try:
            create_file(copy, file.read_bytes())
        except FileExistsError:
            number += 1
        else:
            return copy


def _refused(file: Path, error: OSError) -> PreflightError:
    return PreflightError(
        f"Cannot write `{file}`",
        why=reason(error),
        hint="Go to a folder of your own and run this there; exercises go into `workshop-exercises` in it",
    )
