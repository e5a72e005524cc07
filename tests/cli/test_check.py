"""`part N check`, `exercise`, `solve`, `reset` and `next`, as one command line after another."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Workshop

FILE = Path("workshop-exercises/part1/1_a_tool_with_a_schema.py")


def test_a_check_reports_what_is_done_what_is_not_why_and_what_to_do(workshop: Workshop) -> None:
    outcome = workshop("part", "1", "check")
    assert outcome.code == 6
    assert outcome.out.splitlines()[:4] == [
        "6 of 7 checks of part 1 have passed; 2 exercises are not begun",
        "✗ You have run this part, and it answered",
        "    It has not been run yet",
        "    → `workshop part 1 run` asks the agent its question",
    ]
    assert "○ Exercise 2 is not begun: `workshop part 1 exercise 2`" in outcome.out
    assert outcome.err.endswith("Next: `workshop part 1 check`\n")


def test_a_run_is_what_the_last_check_waited_for_and_it_names_what_comes_next(workshop: Workshop) -> None:
    run = workshop("part", "1", "run", "--model", "rehearsal")
    assert run.err.endswith("Next: `workshop part 1 check`\n")
    outcome = workshop("part", "1", "check", "--json")
    document = json.loads(outcome.out)
    assert (outcome.code, document["status"], document["command"]) == (0, "success", "part check")
    assert document["next"].startswith("`workshop part 1 exercise 1`, or go on with `workshop part 2 show`")
    data = document["data"]
    assert (data["part"], data["passed"], data["counted"]) == (1, True, {"passed": 7, "made": 7})
    assert set(data["checks"][0]) == {
        *("id", "says", "exercise", "state", "reason", "hints", "hints_left", "seconds")
    }
    assert workshop("next").out.splitlines()[0].startswith("You are in part 1, The agent loop. Its checks")


def test_hints_come_one_by_one_and_are_remembered(workshop: Workshop) -> None:
    workshop("part", "1", "exercise", "1")
    given = []
    for arguments in ([], ["--hint"], [], ["--hint"]):
        data = json.loads(workshop("part", "1", "check", "1", "--json", *arguments).out)["data"]
        (check,) = data["checks"]
        given.append((len(check["hints"]), check["hints_left"]))
    assert given == [(1, 2), (2, 1), (2, 1), (3, 0)]
    last = workshop("part", "1", "check", "1", "--hint").out
    assert "`workshop part 1 solve 1` replaces your file with a solution" in last


def test_the_first_hint_that_is_asked_for_is_one(workshop: Workshop) -> None:
    workshop("part", "1", "exercise", "1")
    outcome = workshop("part", "1", "check", "1", "--hint")
    assert outcome.out.count("→ ") == 1
    assert workshop("part", "1", "check", "1", "--hint").out.count("→ ") == 2


def test_an_exercise_goes_from_its_start_to_its_solution_and_nothing_is_lost(workshop: Workshop) -> None:
    begun = workshop("part", "1", "exercise", "1")
    assert (begun.code, FILE.is_file()) == (0, True)
    assert f"Your file is {FILE}" in " ".join(begun.out.split())
    assert workshop("part", "1", "check", "1").code == 6
    FILE.write_text(FILE.read_text("utf-8") + "# mine\n", encoding="utf-8")
    assert "You already have" in workshop("part", "1", "exercise", "1").out
    solved = workshop("part", "1", "solve", "1")
    assert f"Your own file is saved as `{FILE.with_suffix('')}.mine-1.py`" in solved.out
    assert workshop("part", "1", "check", "1").code == 0
    listed = json.loads(workshop("next", "--json").out)["data"]["parts"][0]
    assert listed["exercises"] == ["solution", "open"]


def test_after_an_exercise_comes_what_was_learned_and_the_solution_beside_the_learners_file(
    workshop: Workshop,
) -> None:
    workshop("part", "1", "solve", "1")
    own = FILE.read_text("utf-8").replace("if value < 0:", "if value <= -1:")
    FILE.write_text(own, encoding="utf-8")
    first = workshop("part", "1", "check").out
    assert "· Exercise 1: what you learned\n    A model sees a tool only through its name" in first
    assert "    `workshop part 1 check 1` shows the solution beside yours\n" in first
    assert "what you learned" not in workshop("part", "1", "check").out, "it passed before"
    alone = workshop("part", "1", "check", "1")
    learned = alone.out.partition("· What you learned\n")[2].splitlines()
    assert learned[0].startswith("    A model sees a tool")
    assert learned[2] == "· The solution beside yours: - is yours, + is the solution's"
    assert [line for line in learned[3:] if line[4] != " "] == [
        "    -     if value <= -1:",
        "    +     if value < 0:",
    ]
    assert FILE.read_text("utf-8") == own
    assert alone.err.splitlines()[-1].startswith("Next: `workshop")


def test_a_reset_is_asked_and_without_a_terminal_it_is_refused(workshop: Workshop) -> None:
    workshop("part", "1", "exercise", "1")
    FILE.write_text("mine", encoding="utf-8")
    refused = workshop("part", "1", "reset", "1")
    assert (refused.code, FILE.read_text("utf-8")) == (2, "mine")
    assert "`workshop part 1 reset 1 --yes`" in refused.err
    assert workshop("part", "1", "reset", "1", "--yes").code == 0
    assert FILE.read_text("utf-8").startswith('"""Exercise 1.1')
    assert FILE.with_name(f"{FILE.stem}.mine-1.py").read_text("utf-8") == "mine"


def test_a_part_that_is_reset_begins_again(workshop: Workshop) -> None:
    workshop("part", "1", "run", "--model", "rehearsal")
    assert workshop("part", "1", "check").code == 0
    assert workshop("part", "1", "reset", "--yes").code == 0
    assert workshop("part", "1", "check").code == 6
    assert json.loads(workshop("next", "--json").out)["data"]["step"]["part"] == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["exercise", "9"], "Part 1 has no exercise 9"),
        (["solve", "9"], "Part 1 has no exercise 9"),
        (["reset", "9", "--yes"], "Part 1 has no exercise 9"),
        (["check", "9"], "Part 1 has no exercise 9"),
        (["check", "1"], "Exercise 1 of part 1 is not begun"),
        (["check", "one"], "valid integer"),
    ],
)
def test_what_there_is_not_is_a_usage_error(workshop: Workshop, arguments: list[str], says: str) -> None:
    outcome = workshop("part", "1", *arguments)
    assert outcome.code == 2
    assert says in outcome.err
    as_json = workshop("part", "1", *arguments, "--json")
    assert json.loads(as_json.out)["status"] == "error"


def test_exercises_are_listed_with_where_they_are(workshop: Workshop) -> None:
    workshop("part", "1", "exercise", "1")
    outcome = workshop("part", "1", "exercise")
    assert [line[:12] for line in outcome.out.splitlines() if line[0] != " "] == [
        "○ Exercise 1",
        "○ Exercise 2",
    ]
    assert str(FILE) in outcome.out


def test_next_with_nothing_up_is_up_and_a_damaged_file_is_reported(
    workshop: Workshop, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "progress.json").write_text("{", encoding="utf-8")
    outcome = workshop("next")
    assert outcome.code == 0
    assert outcome.err.startswith("Warning: Your progress could not be read")
    assert outcome.err.endswith("Next: `workshop up`\n")


def test_progress_can_be_forgotten_and_files_stay(workshop: Workshop) -> None:
    workshop("part", "1", "exercise", "1")
    assert workshop("next", "--forget").out == "Your progress is forgotten\n"
    assert workshop("next", "--forget").out == "There is no progress to forget\n"
    assert FILE.is_file()
