"""Every command ends with the step that helps now, as a command that can be pasted."""

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

import workshop as package
from tests.cli.conftest import Workshop, tree
from tests.environment import IsolatedInstance
from workshop.course.check import run_checks
from workshop.course.check_outcome import Job

ROOT = Path(package.__file__).parent
NOT_PASTED = re.compile(
    r"^(?:For example |Write |Run |Use |Add |Give )?`(?:--|part \d|up\b|teardown\b|login\b)"
)


def following(text: str) -> str:
    (found,) = re.findall(r"^Next: `(.+?)`", text, re.MULTILINE)
    return str(found)


@cache
def texts() -> list[tuple[str, str]]:
    """Every hint and every next step in the source; `X` stands for what is filled in."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        text = path.read_text("utf-8")
        if "hint=" not in text and "next=" not in text:  # which spares the parser most files
            continue
        for node in ast.walk(ast.parse(text)):
            if not (isinstance(node, ast.keyword) and node.arg in {"hint", "next"}):
                continue
            for part in ast.walk(node.value):
                if isinstance(part, ast.JoinedStr):
                    values = [str(v.value) if isinstance(v, ast.Constant) else "X" for v in part.values]
                    found.append((path.name, "".join(values)))
                elif isinstance(part, ast.Constant) and isinstance(part.value, str):
                    found.append((path.name, part.value))
    return found


def test_no_hint_is_an_option_alone_or_a_command_without_its_first_word() -> None:
    assert len(texts()) > 200
    assert [each for each in texts() if NOT_PASTED.search(each[1])] == []


def test_every_command_in_a_hint_exists() -> None:
    for file, text in texts():
        for command in re.findall(r"`workshop ([a-z][^`…]*)`", text):
            node, words = tree(), [word for word in shlex.split(command) if not word.startswith("-")]
            while words and hasattr(node, "commands"):
                name = words.pop(0).replace("X", "4")
                assert name in node.commands, f"{file}: {text}"
                node = node.commands[name]


def test_what_nothing_up_needs_first_is_up(workshop: Workshop) -> None:
    for words in (
        ["next"],
        ["status"],
        ["part", "list"],
        ["doctor"],
        ["login", "list"],
        ["part", "3", "show"],
    ):
        assert following(workshop(*words).err) == "workshop up", words
    assert following(workshop("part", "1", "show").err) == "workshop part 1 run", (
        "it needs nothing that is up"
    )


def test_while_it_is_up_the_step_is_the_learners_own(instance: IsolatedInstance, workshop: Workshop) -> None:
    assert following(instance.up().stderr) == "workshop part 1 show"
    workshop("part", "2", "show")
    for words in (["next"], ["status"], ["part", "list"], ["doctor"], ["up", *instance.port_options]):
        assert following(workshop(*words).err) == "workshop part 2 run", words
    assert following(workshop("login", "list").err) == "workshop part 4 run"
    assert workshop("part", "4", "run", "--approve-as", "learner").code == 0
    listed = workshop("login", "list")
    assert following(listed.err) == "workshop part 4 check", "a list of logins does not propose to end them"


@pytest.mark.parametrize(("part", "untried"), [("3", 7), ("4", 9)])
def test_one_check_reports_that_nothing_is_up_and_the_others_follow_in_one_line(
    workshop: Workshop, part: str, untried: int
) -> None:
    outcome = workshop("part", part, "check")
    assert outcome.code == 6
    assert outcome.out.count("Nothing is up") == 1
    assert f"· {untried} more checks were not tried" in outcome.out
    assert "They need what `workshop up` starts" in outcome.out
    assert following(outcome.err) == "workshop up"


def test_each_check_that_lacks_what_is_up_is_reported_as_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WORKSHOP_HOME", str(tmp_path))
    job = Job(str(ROOT.parent / "parts" / "04_remote_oauth"), "", ran=True, works={})
    outcomes = {outcome.name: outcome for outcome in run_checks(job, lambda _: None)}
    assert outcomes["the_challenge_is_seen"].state == "failed"
    assert outcomes["you_are_logged_in"].state == "not tried", "the first one has said it"
    assert {outcome.state for outcome in outcomes.values()} == {"passed", "failed", "not tried"}


def test_a_refused_question_names_the_whole_command(workshop: Workshop) -> None:
    workshop("part", "1", "exercise", "1")
    outcome = workshop("part", "1", "reset", "1")
    assert "`workshop part 1 reset 1 --yes`" in outcome.err
