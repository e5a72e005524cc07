"""The learner's files: begun once, replaced only with a copy kept, wherever the lessons are installed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.course.conftest import ALL, called
from workshop.core.errors import PreflightError, UsageError
from workshop.core.paths import parts_dir
from workshop.course.exercise import (
    Exercise,
    Placed,
    begin,
    begun,
    beside_solution,
    exercise_of,
    exercises_of,
    reset,
    solve,
)
from workshop.course.lessons import find_lessons, variations_of
from workshop.course.progress import Standing, exercise_folder

ONE = ALL[0]


def test_beginning_again_leaves_the_learners_file_alone(tmp_path: Path) -> None:
    first = begin(ONE, tmp_path)
    first.file.write_text("mine", encoding="utf-8")
    second = begin(ONE, tmp_path)
    assert (first.changed, second.changed) == (True, False)
    assert second.file.read_text("utf-8") == "mine"


@pytest.mark.parametrize("act", [solve, reset])
def test_work_that_is_replaced_is_kept_under_a_new_name_each_time(
    tmp_path: Path,
    act: Callable[[Exercise, Path], Placed],
) -> None:
    file = begin(ONE, tmp_path).file
    for number in (1, 2):
        file.write_text(f"mine, {number}", encoding="utf-8")
        placed = act(ONE, tmp_path)
        assert placed.copy == file.with_name(f"{file.stem}.mine-{number}.py")
    kept = sorted(path.read_text("utf-8") for path in file.parent.glob("*.mine-*"))
    assert kept == ["mine, 1", "mine, 2"]


def test_what_is_not_the_learners_own_needs_no_copy(tmp_path: Path) -> None:
    begin(ONE, tmp_path)
    assert solve(ONE, tmp_path).copy is None
    assert not solve(ONE, tmp_path).changed
    assert reset(ONE, tmp_path).copy is None
    assert len(list(tmp_path.rglob("*.py"))) == 1


def test_a_solution_comes_even_where_nothing_was_begun(tmp_path: Path) -> None:
    placed = solve(ONE, tmp_path)
    assert placed.file.read_bytes() == ONE.solution.read_bytes()
    assert begun([ONE], tmp_path) == {ONE.number: placed.file}


def test_a_folder_that_cannot_be_written_is_reported_with_a_way_out(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    for act in (begin, solve):
        with pytest.raises(PreflightError) as raised:
            act(ONE, in_the_way)
        assert "folder of your own" in raised.value.hint


def test_an_exercise_that_there_is_not_is_a_usage_error_that_names_those_there_are() -> None:
    with pytest.raises(UsageError) as raised:
        exercise_of(find_lessons(parts_dir())[0], 7)
    assert raised.value.why.splitlines() == ["1  a tool with a schema", "2  a loop that ends"]


def test_the_exercises_of_each_lesson_fit_into_an_error() -> None:
    for lesson in find_lessons(parts_dir()):
        for each in (lesson, *variations_of(lesson)):
            with pytest.raises(UsageError) as raised:
                exercise_of(each, 99)
            assert len(raised.value.why.splitlines()) <= 5
            assert all(found.title in raised.value.why for found in exercises_of(each))


def test_files_are_found_from_another_folder_and_a_folder_here_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there" / "workshop-exercises"
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert exercise_folder(Standing()) == here / "workshop-exercises"
    assert exercise_folder(Standing(folder=str(there))) == here / "workshop-exercises", "it is gone"
    there.mkdir(parents=True)
    assert exercise_folder(Standing(folder=str(there))) == there
    (here / "workshop-exercises").mkdir()
    assert exercise_folder(Standing(folder=str(there))) == here / "workshop-exercises"


@pytest.mark.parametrize("exercise", ALL, ids=called)
def test_an_exercise_names_what_to_do_and_marks_where(exercise: Exercise) -> None:
    heading, rest = exercise.task.split("\n", 1)
    assert heading == f"# Exercise {called(exercise)}: {exercise.title}"
    assert rest.strip()
    start, solution = exercise.start.read_text("utf-8"), exercise.solution.read_text("utf-8")
    assert start.count("# ↓") == start.count("# ↑") >= 1
    assert "Your turn" in start
    assert "Your turn" not in solution
    assert start != solution
    assert exercise.start.suffix == exercise.solution.suffix


EVERY = [*ALL, *(one for found in variations_of(find_lessons(parts_dir())[3]) for one in exercises_of(found))]


@pytest.mark.parametrize("exercise", EVERY, ids=lambda found: f"{found.key or found.part}.{found.number}")
def test_what_was_learned_is_two_lines_that_the_task_does_not_show(exercise: Exercise) -> None:
    assert len(exercise.learned) == 2
    for line in exercise.learned:
        assert line.endswith(".")
        assert len(line) < 105
        assert line not in exercise.task
    assert "What you learned" not in exercise.task


def test_the_solution_is_shown_beside_a_file_of_ones_own_and_changes_nothing(tmp_path: Path) -> None:
    file = solve(ONE, tmp_path).file
    assert beside_solution(ONE, file) == []
    own = file.read_text("utf-8").replace("if value < 0:", "if value <= -1:")
    file.write_text(own, encoding="utf-8")
    shown = beside_solution(ONE, file)
    assert [line for line in shown if line[0] != " "] == ["-     if value <= -1:", "+     if value < 0:"]
    assert file.read_text("utf-8") == own
    file.write_text("mine\n" * 500, encoding="utf-8")
    assert (len(beside_solution(ONE, file)), beside_solution(ONE, file)[-1]) == (80, "  …")
