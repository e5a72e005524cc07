"""Where a learner is in the tutorial, and the one command that comes next."""

from collections.abc import Sequence
from dataclasses import dataclass

from workshop.course.exercise import Exercise, begun, exercises_of
from workshop.course.lessons import Lesson, has_variations
from workshop.course.progress import Standing, exercise_folder


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


def next_step(lessons: Sequence[Lesson], standing: Standing, environment: Environment) -> NextStep:
    """What to do now.

    Parts may be done in any order: the one worked on last goes first, then those that are not done.
    """
    current = _current(lessons, standing)
    if current is None:
        return _all_done(lessons, environment)
    if not standing.part(current.number).passed:
        return _environment_step(current.number, environment) or _part_step(current.number, standing)
    onward = _after(lessons, standing, current)
    instead = (
        f"workshop part {onward.number} show" if onward else "workshop teardown" if environment.up else ""
    )
    return _exercise_step(current, standing, instead) or _all_done(lessons, environment)


def _environment_step(number: int, environment: Environment) -> NextStep | None:
    if not environment.up:
        return NextStep(number, "Nothing is up", "workshop up")
    if environment.stopped:
        return NextStep(number, f"{', '.join(environment.stopped)} should run and does not", "workshop up")
    return None


def _part_step(number: int, standing: Standing) -> NextStep:
    part = standing.part(number)
    if part.ran:
        return NextStep(
            number, "You have run it; now see whether it all holds", f"workshop part {number} check"
        )
    if part.shown:
        return NextStep(number, "You have read it; now run it", f"workshop part {number} run")
    return NextStep(number, "You have not read it yet", f"workshop part {number} show")


def _exercise_step(lesson: Lesson, standing: Standing, instead: str) -> NextStep | None:
    exercise = _open_exercise(lesson, standing)
    if exercise is None:
        return None
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


def _current(lessons: Sequence[Lesson], standing: Standing) -> Lesson | None:
    latest = max(lessons, key=lambda lesson: standing.part(lesson.number).touched, default=None)
    if latest is not None and standing.part(latest.number).touched:
        done = standing.part(latest.number).passed
        if not done or _open_exercise(latest, standing):
            return latest
        return _after(lessons, standing, latest)
    return lessons[0] if lessons else None


def _after(lessons: Sequence[Lesson], standing: Standing, current: Lesson) -> Lesson | None:
    """The next part that has not passed; from the last one, back to the first that was left out."""
    waiting = [lesson for lesson in lessons if not standing.part(lesson.number).passed and lesson != current]
    later = [lesson for lesson in waiting if lesson.number > current.number]
    return next(iter(later or waiting), None)


def _open_exercise(lesson: Lesson, standing: Standing) -> Exercise | None:
    part = standing.part(lesson.number)
    for exercise in exercises_of(lesson):
        done = part.exercise(exercise.number)
        if not (done.passed or done.solved):
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
