"""`--instance`: a command acts on one of several instances, and what it suggests does too."""

import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Workshop
from workshop.core.files import read_state
from workshop.core.instance import Record
from workshop.core.invocation import INSTANCE


@pytest.mark.parametrize(
    "words",
    [
        ("--instance", "second", "status", "--json"),
        ("status", "--instance", "second", "--json"),
        ("status", "--json", "--instance=second"),
    ],
)
def test_the_option_may_be_anywhere(workshop: Workshop, tmp_path: Path, words: tuple[str, ...]) -> None:
    found = json.loads(workshop(*words).out)
    assert (found["command"], found["status"]) == ("status", "success")
    assert found["data"]["directory"] == str(tmp_path / "state" / "second")
    assert json.loads(workshop("status", "--json").out)["data"]["directory"].endswith("default")
    assert INSTANCE not in os.environ


def test_the_variable_chooses_too_and_the_option_wins(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(INSTANCE, "first")
    shown = workshop("status")
    assert "--instance" not in shown.err, "the shell has the variable, so the suggestion needs no option"
    assert json.loads(workshop("status", "--json").out)["data"]["directory"].endswith("/first")
    assert "/second" in workshop("--instance", "second", "status", "--json").out
    assert os.environ[INSTANCE] == "first"


@pytest.mark.parametrize(
    ("words", "suggested"),
    [
        (("status",), "workshop --instance second up"),
        (("part", "4", "run"), "workshop --instance second up"),
        (("part", "4", "chekc"), "workshop --instance second part 4 check"),
        (("part", "1", "show"), "workshop --instance second part 1 run"),
        (("part", "1", "show"), "WORKSHOP_INSTANCE=second "),
        (("help", "attend"), "workshop --instance second up"),
        (("--help",), "workshop --instance second up"),
    ],
)
def test_each_suggestion_repeats_the_option(
    workshop: Workshop, words: tuple[str, ...], suggested: str
) -> None:
    outcome = workshop("--instance", "second", *words)
    assert suggested in outcome.out + outcome.err
    assert "--instance" not in workshop("status").err


def test_a_bad_name_and_a_missing_one_are_two_lines(workshop: Workshop, tmp_path: Path) -> None:
    for words, what in (
        (("--instance", "../else", "up"), "`--instance ../else` cannot name an instance"),
        (("--instance=Second", "teardown"), "`--instance Second` cannot name an instance"),
        (("status", "--instance"), "No such option"),
    ):
        outcome = workshop(*words)
        assert (outcome.code, what in outcome.err) == (2, True), outcome.err
        assert len(outcome.err.splitlines()) <= 3
    assert not (tmp_path / "else").exists()


def test_what_comes_after_two_dashes_is_not_read(workshop: Workshop) -> None:
    outcome = workshop("status", "--", "--instance", "second")
    assert outcome.code == 2
    assert "second" not in outcome.err.replace("--instance second", "")


def test_a_named_instance_plans_free_ports_and_keeps_those_of_its_record(
    workshop: Workshop, tmp_path: Path
) -> None:
    planned = workshop("--instance", "second", "up", "--dry-run").out
    assert ":8080" not in planned
    assert ":8090" not in planned
    ports = {"github-remote": 21001, "practice-github": 21002, "workshop": 21003}
    folder = tmp_path / "state" / "second"
    folder.mkdir(parents=True)
    record = Record("embedded", "practice", ports, {"workshop": "http://localhost:21003/mcp"})
    (folder / "instance.json").write_text(json.dumps(vars(record)))
    assert read_state(Record, folder / "instance.json") == record
    again = workshop("--instance", "second", "up", "--dry-run").out
    assert all(f"localhost:{port}" in again for port in ports.values())
    assert ":8080" in workshop("up", "--dry-run").out
