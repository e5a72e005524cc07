"""Check a part: run what there is to run, remember what passed, and give hints one by one."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from workshop.core.errors import UsageError
from workshop.course.check_child import Job, Outcome
from workshop.course.check_run import run_checks
from workshop.course.exercise import begun, exercise_of, exercises_of
from workshop.course.find import Lesson
from workshop.course.progress import PartStanding, ProgressFile, exercise_folder

Note = Callable[[str], None]


@dataclass(frozen=True)
class Checked:
    """One check's outcome with the hints given so far, and how many are left."""

    outcome: Outcome
    hints: tuple[str, ...] = ()
    hints_left: int = 0


@dataclass(frozen=True)
class CheckReport:
    """A part's checks, its begun exercises', and the exercises that are not begun."""

    lesson: Lesson
    passed: bool
    checks: tuple[Checked, ...]
    not_begun: tuple[int, ...]

    @property
    def counted(self) -> tuple[int, int]:
        """How many passed, of how many that could be made here."""
        states = [found.outcome.state for found in self.checks]
        return states.count("passed"), len(states) - states.count("not applicable")


def check_part(
    lesson: Lesson, progress: ProgressFile, note: Note, *, only: int | None = None, hint: bool = False
) -> CheckReport:
    """Run a part's checks, or one exercise's; with `hint`, the first that failed gives its next one.

    Raises UsageError for an exercise that there is not, or that is not begun.
    """
    standing = progress.read()
    exercises = exercises_of(lesson)
    files = begun(exercises, exercise_folder(standing))
    if only is not None and exercise_of(lesson, only).number not in files:
        raise UsageError(
            f"Exercise {only} of {lesson.label} is not begun",
            why=f"There is no file of it in `{exercise_folder(standing)}`",
            hint=f"`{lesson.command('exercise', str(only))}` begins it",
        )
    job = Job(
        directory=str(lesson.directory),
        scratch="",
        ran=standing.part(lesson.key).ran,
        works={str(number): str(file) for number, file in files.items()},
        only=only,
    )
    outcomes = run_checks(job, note)
    with progress.change() as standing:
        part = standing.touch(lesson.key)
        _remember(part, outcomes, only)
        checks = _with_hints(part, outcomes, hint=hint)
    passed = all(outcome.state in ("passed", "not applicable") for outcome in outcomes)
    not_begun = tuple(found.number for found in exercises if found.number not in files)
    return CheckReport(lesson, passed, checks, not_begun if only is None else ())


def _remember(part: PartStanding, outcomes: list[Outcome], only: int | None) -> None:
    """What has passed once stays passed: a check after `teardown` takes nothing away."""
    for outcome in outcomes:
        if outcome.state == "passed":
            part.hints.pop(outcome.name, None)
            if outcome.exercise is not None:
                part.exercise(outcome.exercise).passed = True
    own = [outcome for outcome in outcomes if outcome.exercise is None]
    if only is None and all(outcome.state in ("passed", "not applicable") for outcome in own):
        part.passed = True


def _with_hints(part: PartStanding, outcomes: list[Outcome], *, hint: bool) -> tuple[Checked, ...]:
    checks = []
    for outcome in outcomes:
        if outcome.state != "failed":
            checks.append(Checked(replace(outcome, hints=())))
            continue
        stage = part.hints.get(outcome.name, 0)
        if hint:  # one a time, for the first that failed: later ones often follow from it
            stage, hint = min(max(stage, 1) + 1, len(outcome.hints)), False
            part.hints[outcome.name] = stage
        given = outcome.hints[: max(stage, 1)]
        checks.append(Checked(replace(outcome, hints=()), given, len(outcome.hints) - len(given)))
    return tuple(checks)
