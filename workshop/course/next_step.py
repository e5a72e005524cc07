"""Where a learner is in the tutorial, and the one command that comes next."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.course.exercise import Exercise, begun, exercises_of
from workshop.course.lessons import Lesson, has_variations
from workshop.course.progress import Standing, exercise_folder

if TYPE_CHECKING:
    from workshop.course.environment import StatusReport


@dataclass(frozen=True)
class Environment:
    """What `status` found: whether anything is up, and the workloads that stopped."""

    up: bool
    stopped: Sequence[str] = ()


@dataclass(frozen=True)
class NextStep:
    """The current part (None: every part has passed), the next command, and why."""

    part: int | None
    why: str
    command: str
    instead: str = ""


@dataclass(frozen=True)
class Row:
    """One part as a learner left it."""

    part: int
    title: str
    read: bool
    ran: bool
    checked: bool
    exercises: tuple[str, ...]


def environment_now(report: "StatusReport | None" = None) -> Environment:
    """The environment as `report` shows it, or as it is now."""
    from workshop.course import environment

    report = report or environment.status()
    stopped = [item.name for item in report.workloads if item.state == "stopped"]
    return Environment(report.up, stopped)


def next_step(lessons: Sequence[Lesson], standing: Standing, environment: Environment) -> NextStep:
    """What to do now: first what is begun and has not passed, the latest first; then what is new.

    Parts may be done in any order: after the last one come those that were left out.
    """
    worked_on = [lesson for lesson in lessons if standing.part(lesson.number).touched]
    worked_on.sort(key=lambda lesson: standing.part(lesson.number).touched, reverse=True)
    for lesson in worked_on:
        if not standing.part(lesson.number).passed:
            return _lesson_step(lesson, standing, environment)
        if exercise := _unpassed_exercise(lesson, standing, begun_only=True):
            return _exercise_step(lesson, exercise, standing, _onward(lessons, standing, lesson, environment))
    if not worked_on:
        return _lesson_step(lessons[0], standing, environment) if lessons else _all_done(lessons, environment)
    latest = worked_on[0]
    if exercise := _unpassed_exercise(latest, standing):
        return _exercise_step(latest, exercise, standing, _onward(lessons, standing, latest, environment))
    following = _after(lessons, standing, latest)
    return _lesson_step(following, standing, environment) if following else _all_done(lessons, environment)


def _lesson_step(lesson: Lesson, standing: Standing, environment: Environment) -> NextStep:
    return _environment_step(lesson.number, environment) or _part_step(lesson.number, standing)


def _onward(lessons: Sequence[Lesson], standing: Standing, current: Lesson, environment: Environment) -> str:
    """What may be done instead of an exercise of the current part."""
    following = _after(lessons, standing, current)
    if following:
        return f"workshop part {following.number} show"
    return "workshop teardown" if environment.up else ""


def _environment_step(number: int, environment: Environment) -> NextStep | None:
    if not environment.up:
        return NextStep(number, "Nothing is up", "workshop up")
    if environment.stopped:
        verb = "has" if len(environment.stopped) == 1 else "have"
        return NextStep(number, f"{', '.join(environment.stopped)} {verb} stopped", "workshop up")
    return None


def _part_step(number: int, standing: Standing) -> NextStep:
    part = standing.part(number)
    if part.ran:
        return NextStep(number, "You have run it; now check your work", f"workshop part {number} check")
    if part.shown:
        return NextStep(number, "You have read it; now run it", f"workshop part {number} run")
    return NextStep(number, "You have not read it yet", f"workshop part {number} show")


def _exercise_step(lesson: Lesson, exercise: Exercise, standing: Standing, instead: str) -> NextStep:
    called = f"Exercise {exercise.number}, {exercise.title},"
    if exercise.file(exercise_folder(standing)).is_file():
        command = f"workshop part {lesson.number} check {exercise.number}"
        return NextStep(lesson.number, f"{called} is begun", command, instead)
    command = f"workshop part {lesson.number} exercise {exercise.number}"
    return NextStep(lesson.number, f"Its checks have passed. {called} is open", command, instead)


def overview(lessons: Sequence[Lesson], standing: Standing) -> tuple[Row, ...]:
    """Every part, and what has been done of it."""
    return tuple(
        Row(
            lesson.number,
            lesson.title,
            (part := standing.part(lesson.number)).shown,
            part.ran,
            part.passed,
            tuple(_state(exercise, standing) for exercise in exercises_of(lesson)),
        )
        for lesson in lessons
    )


def _after(lessons: Sequence[Lesson], standing: Standing, current: Lesson) -> Lesson | None:
    """The next part that has not passed; from the last one, back to the first that was left out."""
    waiting = [lesson for lesson in lessons if not standing.part(lesson.number).passed and lesson != current]
    later = [lesson for lesson in waiting if lesson.number > current.number]
    return next(iter(later or waiting), None)


def _unpassed_exercise(lesson: Lesson, standing: Standing, *, begun_only: bool = False) -> Exercise | None:
    part, folder = standing.part(lesson.number), exercise_folder(standing)
    for exercise in exercises_of(lesson):
        done = part.exercise(exercise.number)
        if not (done.passed or done.solved) and (not begun_only or exercise.file(folder).is_file()):
            return exercise
    return None


def _state(exercise: Exercise, standing: Standing) -> str:
    done = standing.part(exercise.part).exercise(exercise.number)
    if done.passed or done.solved:
        return "solution" if done.solved else "passed"
    return "begun" if begun([exercise], exercise_folder(standing)) else "open"


def _all_done(lessons: Sequence[Lesson], environment: Environment) -> NextStep:
    more = next(
        (f"workshop part {lesson.number} variations" for lesson in lessons if has_variations(lesson)), ""
    )
    if environment.up:
        return NextStep(None, "Every part has passed", "workshop teardown", more)
    return NextStep(None, "Every part has passed, and nothing is up", more)
