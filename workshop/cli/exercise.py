"""`workshop part N exercise`, `solve` and `reset`: the learner's files, which are never overwritten."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workshop.cli.options import Yes, complete_exercises
from workshop.cli.terminal import agreed, console
from workshop.cli.variation import VariationName, lesson_or_variation
from workshop.core.paths import current_dir
from workshop.core.result import Point, Result
from workshop.course.lessons import Lesson

if TYPE_CHECKING:
    from workshop.course.exercise import Exercise, Placed
    from workshop.course.progress import ProgressFile

Number = Annotated[
    int, typer.Argument(metavar="EXERCISE", help="The exercise's number.", autocompletion=complete_exercises)
]
OneOrAll = Annotated[
    int | None,
    typer.Argument(
        metavar="[EXERCISE]",
        help="This exercise only.",
        show_default=False,
        autocompletion=complete_exercises,
    ),
]


def add_exercises(group: typer.Typer, lesson: Lesson) -> None:
    """Add `exercise`, `solve` and `reset` to a lesson's group."""

    @group.command("exercise")
    def exercise(number: OneOrAll = None, *, variation: VariationName = None) -> Result:
        """Begin an exercise: put its file into `workshop-exercises`."""
        chosen = lesson_or_variation(lesson, variation)
        return _listed(chosen) if number is None else _begun(chosen, number)

    @group.command("solve")
    def solve(number: Number, *, variation: VariationName = None) -> Result:
        """Put an exercise's solution in place; your own file is saved beside it."""
        return _solved(lesson_or_variation(lesson, variation), number)

    @group.command("reset")
    def reset(number: OneOrAll = None, *, variation: VariationName = None, yes: Yes = False) -> Result:
        """Start an exercise or the part again; your work is saved beside it."""
        return _reset(lesson_or_variation(lesson, variation), number, yes=yes)


def _progress() -> "ProgressFile":
    from workshop.course.progress import ProgressFile

    return ProgressFile(console().warn)


def _listed(lesson: Lesson) -> Result:
    from workshop.course.exercise import begun, exercises_of
    from workshop.course.progress import exercise_folder

    standing = _progress().read()
    exercises = exercises_of(lesson)
    files = begun(exercises, exercise_folder(standing))
    points, data = [], []
    for found in exercises:
        done = standing.part(lesson.key).exercise(found.number)
        file = files.get(found.number)
        details = [f"Your file is {file}"] if file else []
        points.append(Point("✓" if done.passed else "○", f"Exercise {found.number}: {found.title}", details))
        data.append({"exercise": found.number, "title": found.title, "passed": done.passed, "file": file})
    first = next((item["exercise"] for item in data if not item["passed"]), 1)
    following = f"`{lesson.command('exercise', str(first))}`"
    return Result("part exercise", {"part": lesson.number, "exercises": data}, points=points, next=following)


def _begun(lesson: Lesson, number: int) -> Result:
    from workshop.course.exercise import begin, exercise_of
    from workshop.course.progress import exercise_folder

    found = exercise_of(lesson, number)
    with _progress().change() as standing:
        folder = exercise_folder(standing)
        placed = begin(found, folder)
        standing.folder = str(folder)
        standing.touch(lesson.key)
    file = _short(placed.file)
    line = f"Your file is `{file}`" if placed.changed else f"You already have `{file}`"
    watch = lesson.command("check", str(number), "--watch")
    return Result(
        "part exercise",
        _data(found, placed),
        markdown=f"{found.task}\n{line}. `{watch}` checks it whenever you save it.",
        next=f"`{lesson.command('check', str(number))}`",
    )


def _solved(lesson: Lesson, number: int) -> Result:
    from workshop.course.exercise import exercise_of, solve
    from workshop.course.progress import exercise_folder

    found = exercise_of(lesson, number)
    with _progress().change() as standing:
        folder = exercise_folder(standing)
        placed = solve(found, folder)
        standing.folder = str(folder)
        standing.touch(lesson.key).exercise(number).solved = True
    following = f"`{lesson.command('check', str(number))}`"
    return Result(
        "part solve", _data(found, placed), _where(placed, "The solution"), _copy(placed), next=following
    )


def _reset(lesson: Lesson, number: int | None, *, yes: bool) -> Result:
    from workshop.course.exercise import begun, exercise_of, exercises_of, is_own_work
    from workshop.course.exercise import reset as put_start
    from workshop.course.progress import PartStanding, exercise_folder

    progress = _progress()
    exercises = exercises_of(lesson) if number is None else (exercise_of(lesson, number),)
    folder = exercise_folder(progress.read())
    files = begun(exercises, folder)
    # The question names the work that is replaced; a copy is saved in any case.
    work = [file for found in exercises if (file := files.get(found.number)) and is_own_work(found, file)]
    if not agreed(_question(lesson, number, work), yes=yes):
        return Result("part reset", {"part": lesson.number, "reset": []}, "Nothing was changed")
    with progress.change() as standing:
        placed = [put_start(found, folder) for found in exercises if found.number in files]
        if number is None:
            standing.parts[lesson.key] = PartStanding()
            standing.touch(lesson.key)
        else:
            standing.part(lesson.key).exercises.pop(str(number), None)
            # Hints are counted by the name of a check, and this is that of the exercise's.
            standing.part(lesson.key).hints.pop(f"exercise_{number}", None)
    what = lesson.title_label if number is None else f"Exercise {number}"
    again = lesson.command("show") if number is None else lesson.command("exercise", str(number))
    return Result(
        "part reset",
        {"part": lesson.number, "reset": placed},
        f"{what} starts again",
        [line for one in placed for line in _copy(one)],
        next=f"`{again}`",
    )


def _question(lesson: Lesson, number: int | None, work: Sequence[Path]) -> str:
    what = f"{lesson.label} with its exercises and your progress" if number is None else f"exercise {number}"
    start = f"Reset {what}?"
    if not work:
        return start
    files = ", ".join(file.name for file in work)
    return f"{start} Your work in {files} is saved in a copy beside it"


def _where(placed: "Placed", what: str) -> str:
    file = _short(placed.file)
    return f"{what} is in `{file}`" if placed.changed else f"{what} was already in `{file}`"


def _copy(placed: "Placed") -> list[str]:
    return [f"Your own file is saved as `{_short(placed.copy)}`"] if placed.copy else []


def _short(file: Path) -> str:
    """The path relative to the current folder, if it is inside."""
    here = current_dir()
    return str(file.relative_to(here)) if here and file.is_relative_to(here) else str(file)


def _data(found: "Exercise", placed: "Placed") -> dict[str, object]:
    return {
        "part": found.part,
        "exercise": found.number,
        "title": found.title,
        "file": placed.file,
        "changed": placed.changed,
        "copy": placed.copy,
    }
