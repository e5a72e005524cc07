"""The one command that comes next, from wherever a learner stands."""

from pathlib import Path

import pytest

from workshop.core.paths import parts_dir
from workshop.course.exercise import exercises_of
from workshop.course.lessons import find_lessons
from workshop.course.next_step import Environment, NextStep, next_step, overview
from workshop.course.progress import Standing

LESSONS = find_lessons(parts_dir())
UP, DOWN = Environment(up=True), Environment(up=False)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def passed(*parts: int, exercises: bool = True) -> Standing:
    standing = Standing()
    for number in parts:
        part = standing.part(number)
        part.shown = part.ran = part.passed = True
        part.touched = number
        if exercises:
            part.exercise(1).passed = True
            for exercise in exercises_of(LESSONS[number - 1])[1:]:
                part.exercise(exercise.number).solved = True
    return standing


def asked(standing: Standing, room: Environment = UP) -> NextStep:
    return next_step(LESSONS, standing, room)


def test_a_newcomer_brings_everything_up_and_reads_part_1() -> None:
    assert asked(Standing(), DOWN).command == "workshop up"
    assert asked(Standing()).command == "workshop part 1 show"


def test_what_has_stopped_is_started_first() -> None:
    step = asked(Standing(), Environment(up=True, stopped=["workshop"]))
    assert (step.command, step.why) == ("workshop up", "workshop has stopped")


def test_a_part_is_read_run_and_checked_in_this_order() -> None:
    standing, commands = passed(1), []
    for flag in ("shown", "ran", "passed"):
        commands.append(asked(standing).command)
        setattr(standing.touch(2), flag, True)
    assert commands == ["workshop part 2 show", "workshop part 2 run", "workshop part 2 check"]


def test_exercises_come_after_the_checks_and_may_be_left_out(tmp_path: Path) -> None:
    standing = passed(1, exercises=False)
    step = asked(standing)
    assert (step.command, step.instead) == ("workshop part 1 exercise 1", "workshop part 2 show")
    folder = tmp_path / "workshop-exercises" / "part1"
    folder.mkdir(parents=True)
    (folder / "1_a_tool_with_a_schema.py").touch()
    assert asked(standing).command == "workshop part 1 check 1"
    standing.part(1).exercise(1).passed = True
    assert asked(standing).command == "workshop part 1 exercise 2"
    standing.touch(2).shown = True
    assert asked(standing).command == "workshop part 2 run", "part 2 was begun instead"


def test_parts_may_be_done_in_any_order_and_those_left_out_come_last() -> None:
    standing = Standing()
    standing.touch(3).shown = True
    assert asked(standing).command == "workshop part 3 run"
    assert asked(passed(3)).command == "workshop part 4 show"
    assert asked(passed(3, 4)).command == "workshop part 1 show"


def test_the_end_is_a_teardown_or_other_ways_and_after_it_those() -> None:
    everything, more = passed(1, 2, 3, 4), "workshop part 4 variations"
    assert asked(everything) == NextStep(None, "Every part has passed", "workshop teardown", more)
    assert asked(everything, DOWN).command == more


def test_exercises_at_home_need_nothing_up() -> None:
    step = asked(passed(1, 2, 3, 4, exercises=False), DOWN)
    assert (step.command, step.instead) == ("workshop part 4 exercise 1", "")


def test_the_overview_tells_each_part_as_it_was_left() -> None:
    standing = passed(1)
    standing.part(2).shown = True
    rows = [(row.read, row.ran, row.checked, row.exercises) for row in overview(LESSONS, standing)]
    assert rows[0] == (True, True, True, ("passed", "solution"))
    assert rows[1] == (True, False, False, ("open", "open"))


def test_what_is_begun_comes_before_what_is_new(tmp_path: Path) -> None:
    standing = passed(2)
    standing.part(1).shown = standing.part(1).ran = True
    standing.part(1).touched = 1
    assert asked(standing).command == "workshop part 1 check", "part 1 is begun, part 3 is new"
    standing.part(1).passed = True
    standing.part(2).exercise(1).passed = False
    assert asked(standing).command == "workshop part 2 exercise 1", "nothing is begun any more"
    folder = tmp_path / "workshop-exercises" / "part1"
    folder.mkdir(parents=True)
    (folder / "2_a_loop_that_ends.py").touch()
    step = asked(standing)
    assert (step.command, step.instead) == ("workshop part 1 check 2", "workshop part 3 show")
    standing.part(1).exercise(2).passed = True
    assert asked(standing).command == "workshop part 2 exercise 1"
