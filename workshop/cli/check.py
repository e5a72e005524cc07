"""`workshop part N check`: which checks pass, why the others do not, and a hint."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from workshop.cli.next import following
from workshop.cli.options import Json, complete_exercises
from workshop.cli.terminal import console, finish
from workshop.cli.variation import VariationName, lesson_or_variation, variation_name
from workshop.core.errors import CheckError, UsageError
from workshop.core.result import Point, Result
from workshop.course.lessons import Lesson, Variation

if TYPE_CHECKING:
    from workshop.core.screen import Screen
    from workshop.course.check import Checked, CheckReport

Number = Annotated[
    int | None,
    typer.Argument(
        metavar="[EXERCISE]",
        help="Check this exercise only.",
        show_default=False,
        autocompletion=complete_exercises,
    ),
]
Hint = Annotated[bool, typer.Option("--hint", help="Give the next hint for the first check that fails.")]
Watch = Annotated[bool, typer.Option("--watch", help="Check again whenever you save a file, until Ctrl-C.")]


def add_check(group: typer.Typer, lesson: Lesson) -> None:
    """Add `check` to a lesson's group."""

    @group.command("check")
    def check(
        exercise: Number = None,
        *,
        variation: VariationName = None,
        hint: Hint = False,
        watch: Watch = False,
        json: Json = False,
    ) -> None:
        """Check this part, and the exercises you have begun."""
        from workshop.core.settings import Settings

        # The reason why a check failed may quote what the learner's code has read.
        console().hide(Settings.load().secrets())
        chosen = lesson_or_variation(lesson, variation)
        if watch and json:
            raise UsageError("`--watch` has no end, and `--json` prints one document", hint="Leave one out")
        if watch:
            _watch(chosen, exercise, hint=hint)
        finish(_checked(chosen, exercise, hint=hint), as_json=json)


def _checked(lesson: Lesson, exercise: int | None, *, hint: bool) -> Result:
    from workshop.course.check import check_part
    from workshop.course.progress import ProgressFile

    with console().progress() as progress, progress.step(f"Run {_called(lesson, exercise)}") as step:
        report = check_part(lesson, ProgressFile(console().warn), step.note, only=exercise, hint=hint)
        # The line that stays must not name the check that was the last one.
        step.note("")
    return _result(lesson, report, exercise, asked=hint)


def _watch(lesson: Lesson, exercise: int | None, *, hint: bool) -> NoReturn:
    """Check again after each save, until Ctrl-C; then the last result stays on the terminal."""
    from workshop.course.check import check_part, rounds
    from workshop.course.progress import ProgressFile

    result = None
    called = _called(lesson, exercise)
    try:
        with console().screen() as screen:
            progress = ProgressFile(screen.note)
            for _ in rounds(lesson, progress, screen.refresh):
                screen.note(f"Running {called} …")
                try:
                    report = check_part(lesson, progress, _noted(screen), only=exercise, hint=hint)
                except UsageError as error:  # an editor may remove the file before it writes it again
                    if result is None:
                        raise
                    screen.note(f"{error.what}; it is checked again when you save its file")
                    continue
                result = _result(lesson, _failed_first(report), exercise, asked=hint)
                hint = False  # one `--hint` is one hint: not another after each save
                screen.show(result)
                screen.note(f"Save a file to run {called} again; Ctrl-C leaves")
    finally:
        if result and screen.redraws:
            console().render(result)
    raise AssertionError  # `rounds` has no end


def _noted(screen: "Screen") -> Callable[[str], None]:
    return lambda sentence: screen.note(f"Checking: {sentence}")


def _failed_first(report: "CheckReport") -> "CheckReport":
    """What has failed comes first: a small screen shows the beginning."""
    checks = sorted(report.checks, key=lambda found: found.outcome.state != "failed")
    return replace(report, checks=tuple(checks))


def _called(lesson: Lesson, exercise: int | None) -> str:
    what = f"exercise {exercise} of " if exercise is not None else ""
    return f"the checks of {what}{lesson.label}"


def note_progress(lesson: Lesson, *, shown: bool = False, ran: bool = False) -> None:
    """Record that a part was read or run."""
    from workshop.course.progress import ProgressFile, share_progress

    with ProgressFile(console().warn).change() as standing:
        part = standing.touch(lesson.key)
        part.shown = part.shown or shown
        part.ran = part.ran or ran
    if ran and not isinstance(lesson, Variation):
        share_progress(lesson.number)


def _result(lesson: Lesson, report: "CheckReport", only: int | None, *, asked: bool) -> Result:
    passed, made = report.counted
    if only is None:
        own_passed, own_made = report.counted_own
        headline = f"{own_passed} of {own_made} checks of {lesson.label} have passed{_not_made(report)}"
    else:
        headline = f"Exercise {only} has {'passed' if report.passed else 'not passed yet'}"
    return Result(
        "part check",
        _data(report, passed, made),
        headline,
        points=[*_points(report, asked=asked), *_open(report), *_afterwards(report, only)],
        next=_next(report, only),
        exit_code=0 if report.passed else CheckError.exit_code,
    )


def _not_made(report: "CheckReport") -> str:
    """What the count of checks leaves out: the holes of a weak edition, and the exercises."""
    skipped = sum(found.outcome.state == "not applicable" for found in report.checks)
    parts = [f"{skipped} {'does' if skipped == 1 else 'do'} not apply here"] if skipped else []
    passed, begun = report.counted_exercises
    if begun:
        parts.append(f"{passed} of {begun} begun {'exercise has' if begun == 1 else 'exercises have'} passed")
    if number := len(report.not_begun):
        parts.append(f"{number} {'exercise is' if number == 1 else 'exercises are'} not begun")
    return "".join(f"; {part}" for part in parts)


def _points(report: "CheckReport", *, asked: bool) -> list[Point]:
    """A point for each check; without what it needs, one for all that were not tried."""
    shown = [found for found in report.checks if not (report.missing and found.outcome.state == "not tried")]
    points = [_point(found, report.lesson, asked) for found in shown]
    if untried := len(report.checks) - len(shown):
        needed = f"They need what `{report.lesson.start_command}` starts"
        points.append(Point("·", f"{untried} more checks were not tried", [needed]))
    return points


def _point(found: "Checked", lesson: Lesson, asked: bool) -> Point:  # noqa: FBT001 - whether `--hint` was given
    from workshop.course.check_outcome import MARKS

    outcome = found.outcome
    exercise = f"Exercise {outcome.exercise}: " if outcome.exercise is not None else ""
    details = [outcome.reason] if outcome.reason else []
    details += [f"→ {hint}" for hint in found.hints]
    if asked and outcome.state == "failed" and not found.hints_left:
        details.append(_after_last_hint(lesson, outcome.exercise))
    return Point(MARKS[outcome.state], f"{exercise}{outcome.sentence}", details)


def _after_last_hint(lesson: Lesson, exercise: int | None) -> str:
    if exercise is None:
        show = lesson.command("show")
        return f"These are all the hints; `{show}` explains more. In a class, ask a neighbour"
    solve = lesson.command("solve", str(exercise))
    return f"These are all the hints; `{solve}` replaces your file with a solution, and saves yours"


def _open(report: "CheckReport") -> list[Point]:
    begin = report.lesson.command
    return [
        Point("○", f"Exercise {number} is not begun: `{begin('exercise', str(number))}`")
        for number in report.not_begun
    ]


def _afterwards(report: "CheckReport", only: int | None) -> Iterator[Point]:
    """What was learned in each exercise that is done, and the solution beside the learner's file."""
    from workshop.course.exercise import beside_solution

    for exercise, file in report.done:
        lines = beside_solution(exercise, file)
        if only is None:
            command = report.lesson.command("check", str(exercise.number))
            more = [f"`{command}` shows the solution beside yours"] if lines else []
            yield Point("·", f"Exercise {exercise.number}: what you learned", [*exercise.learned, *more])
            continue
        yield Point("·", "What you learned", exercise.learned)
        if lines:
            yield Point("·", "The solution beside yours: - is yours, + is the solution's", lines)


def _next(report: "CheckReport", only: int | None) -> str:
    if report.passed and isinstance(report.lesson, Variation):
        return _next_of(report.lesson, report.not_begun)
    if report.passed:
        return following()
    if report.missing:
        return f"`{report.lesson.start_command}`"
    again = report.lesson.command("check", *([str(only)] if only is not None else []))
    more = next((found.hints_left for found in report.checks if found.outcome.state == "failed"), 0)
    return f"`{again} --hint`" if more else f"`{again}`"


def _next_of(variation: Variation, not_begun: Sequence[int]) -> str:
    if not_begun:
        return f"`{variation.command('exercise', str(not_begun[0]))}`"
    return f"`{variation.part.command('compare')}` compares it with the others"


def _data(report: "CheckReport", passed: int, made: int) -> dict[str, object]:
    return {
        "part": report.lesson.number,
        "variation": variation_name(report.lesson),
        "passed": report.passed,
        "counted": {"passed": passed, "made": made},
        "checks": [
            {
                "id": found.outcome.name,
                "says": found.outcome.sentence,
                "exercise": found.outcome.exercise,
                "state": found.outcome.state,
                "reason": found.outcome.reason,
                "hints": list(found.hints),
                "hints_left": found.hints_left,
                "seconds": found.outcome.seconds,
            }
            for found in report.checks
        ],
        "exercises_not_begun": list(report.not_begun),
    }
