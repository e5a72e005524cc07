"""The commands that need nothing running."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Workshop
from workshop.core.paths import parts_dir


def test_help_groups_the_commands_and_starts_with_examples(workshop: Workshop) -> None:
    outcome = workshop("--help")
    assert outcome.code == 0
    wanted = ["workshop up ", "Environment:", "  up ", "  teardown ", "Lessons:", "For facilitators:"]
    places = [outcome.out.index(text) for text in wanted]
    assert places == sorted(places)


def test_no_command_shows_the_help_as_a_usage_error(workshop: Workshop) -> None:
    outcome = workshop()
    assert outcome.code == 2
    assert outcome.err.startswith("Usage: workshop")


def test_the_parts_are_listed_in_order(workshop: Workshop) -> None:
    outcome = workshop("part", "list")
    assert [line.split()[0] for line in outcome.out.splitlines()[1:] if line[0].isdigit()] == list("1234")
    document = json.loads(workshop("part", "list", "--json").out)
    assert [part["part"] for part in document["data"]] == [1, 2, 3, 4]


def test_a_folder_with_a_part_toml_is_a_part(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = tmp_path / "parts"
    shutil.copytree(parts_dir() / "01_agent_loop", parts / "05_again")
    (parts / "06_no_toml").mkdir()
    monkeypatch.setattr("workshop.course.lessons.parts_dir", lambda: parts)
    assert "trail-mapper" in workshop("part", "5", "run", "--model", "rehearsal").out
    assert workshop("part", "6", "run").code == 2


def test_two_folders_with_one_number_are_refused(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("01_one", "01_uno"):
        shutil.copytree(parts_dir() / "01_agent_loop", tmp_path / "parts" / name)
    monkeypatch.setattr("workshop.course.lessons.parts_dir", lambda: tmp_path / "parts")
    outcome = workshop("part", "list")
    assert outcome.code == 2
    assert "are both part 1" in outcome.err


@pytest.mark.parametrize(
    ("number", "step"),
    [("1", "workshop part 1 run"), ("2", "workshop part 2 run"), ("3", "workshop up"), ("4", "workshop up")],
)
def test_a_lesson_is_shown_with_what_it_needs_next(workshop: Workshop, number: str, step: str) -> None:
    outcome = workshop("part", number, "show")
    assert outcome.code == 0
    assert f"Part {number}" in outcome.out
    assert f"Next: `{step}`" in outcome.err


@pytest.mark.parametrize("number", ["1", "2"])
def test_a_part_without_workloads_runs_with_nothing_up(workshop: Workshop, number: str) -> None:
    outcome = workshop("part", number, "run", "--model", "rehearsal")
    assert outcome.code == 0
    assert outcome.out.startswith("trail-mapper has the most open issues")
    assert "rehearsal model (no LLM)" in outcome.err


def test_teardown_and_status_are_fine_with_nothing_there(workshop: Workshop) -> None:
    assert workshop("teardown").out == "Nothing was running\n"
    assert workshop("teardown").code == 0
    assert workshop("status").out == "Nothing is up\nPart: 1, The agent loop\n"
    assert json.loads(workshop("status", "--json").out)["data"]["up"] is False


def test_the_version_is_printed(workshop: Workshop) -> None:
    assert workshop("--version").out == "workshop 0.1.0\n"
