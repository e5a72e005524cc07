"""The help: its examples can be typed, and its topics say what the program does."""

import json
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import workshop
from tests.cli.conftest import Workshop, tree
from workshop.cli.app import build_tree, topics
from workshop.cli.groups import EXAMPLES
from workshop.core.errors import WorkshopError

PACKAGE = Path(workshop.__file__).parent
TOPICS = PACKAGE / "cli" / "topics"
LINES = [re.split(r"\s{3,}", line)[0] for lines in EXAMPLES.values() for line in lines]


@cache
def source() -> str:
    return "\n".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))


def parsed(words: list[str]) -> dict[str, Any]:
    """Parse a command line without running it."""
    command = tree()
    for number, word in enumerate(words):
        children = getattr(command, "commands", {})
        if not children:
            return dict(command.make_context(command.name, words[number:]).params)
        command = children[word]
    return dict(command.make_context(command.name, []).params)


@pytest.mark.parametrize("line", LINES)
def test_an_example_can_be_typed(workshop: Workshop, line: str) -> None:
    program, *words = shlex.split(line)
    assert program == "workshop"
    parsed(words)


def test_examples_come_before_the_options(workshop: Workshop) -> None:
    told = workshop("up", "--help").out
    assert 0 < told.index("workshop up --backend kind") < told.index("Options:")
    assert "workshop part 3 check --hint" in workshop("part", "3", "--help").out


def test_every_command_is_listed_under_one_heading(workshop: Workshop) -> None:
    _, _, shown = workshop("--help").out.partition("Options:")
    headings = re.findall(r"^(\S.*):$", shown, re.MULTILINE)
    assert headings == ["Environment", "Lessons", "Troubleshooting", "Security", "For facilitators"]
    listed = re.findall(r"^  ([a-z]+) {2,}", shown.partition("Environment:")[2], re.MULTILINE)
    assert sorted(listed) == sorted(tree().commands)


def test_help_shows_a_topic_a_command_or_what_there_is(workshop: Workshop) -> None:
    assert set(topics()) == {
        *("attend", "backends", "clients", "cluster", "environment", "exit-codes", "github", "json"),
        *("output", "probe", "room", "run", "troubleshooting", "variations", "words"),
    }
    for name, title in topics().items():
        assert title in workshop("help", name).out
        assert name in workshop("help").out
    assert workshop("help", "part", "1", "run").out == workshop("part", "1", "run", "--help").out
    assert json.loads(workshop("help", "json", "--json").out)["data"]["markdown"].startswith("# JSON output")
    outcome = workshop("help", "me")
    assert (outcome.code, "no topic and no command `me`" in outcome.err) == (2, True)


def test_the_exit_codes_are_those_of_the_errors() -> None:
    told = dict(
        re.findall(r"^\| (\d+) \| (.+) \|$", (TOPICS / "exit-codes.md").read_text("utf-8"), re.MULTILINE)
    )
    families: set[type[WorkshopError]] = {WorkshopError, *WorkshopError.__subclasses__()}
    assert set(told) == {"0", *(str(family.exit_code) for family in families)}
    text = (TOPICS / "exit-codes.md").read_text("utf-8")
    assert all(f"`{family.code}`" in text for family in families)
    assert "cli/topics/exit-codes.md" in (PACKAGE.parent / "README.md").read_text("utf-8")


def test_every_variable_is_reported_and_none_that_is_not_read() -> None:
    told = set(re.findall(r"WORKSHOP_[A-Z_]+", (TOPICS / "environment.md").read_text("utf-8")))
    read = {name for name in re.findall(r"WORKSHOP_[A-Z_]+", source()) if not name.endswith("_")}
    assert told == read


def titles() -> list[str]:
    """Every message that troubleshooting is keyed by."""
    text = (TOPICS / "troubleshooting.md").read_text("utf-8")
    return [
        title
        for line in re.findall(r"^## (.+)$", text, re.MULTILINE)
        for title in re.findall(r"`([^`]+)`", line)
    ]


@pytest.mark.parametrize("title", titles())
def test_troubleshooting_is_keyed_by_what_the_program_says(title: str) -> None:
    pattern = r"[^\n]*?".join(re.escape(piece) for piece in title.split("…"))
    assert re.search(pattern, source()), title


@pytest.mark.parametrize(
    ("arguments", "title"),
    [
        (["part", "3", "run"], "Part … needs its workloads, and nothing is up"),
        (["up", "--upstream", "github"], "GITHUB_OAUTH_CLIENT_SECRET is not set in …"),
        (["part", "1", "reset"], "This needs an answer, and there is no terminal to ask at"),
    ],
)
def test_a_message_of_troubleshooting_is_printed_so(
    workshop: Workshop, arguments: list[str], title: str
) -> None:
    assert title in titles()
    pattern = ".+".join(re.escape(piece) for piece in title.split("…"))
    assert re.search(pattern, workshop(*arguments).err)


def test_a_damaged_state_is_in_troubleshooting_too(workshop: Workshop, tmp_path: Path) -> None:
    record = tmp_path / "state" / "default" / "instance.json"
    record.parent.mkdir(parents=True)
    record.write_text("{")
    assert "Error: Cannot use the state in " in workshop("logs").err
    assert "Cannot use the state in …" in titles()


@pytest.mark.parametrize("given", ["", "help", "--help", "-v", "stats", *tree().commands])
def test_only_a_command_line_that_begins_with_a_command_leaves_the_others_out(given: str) -> None:
    everything = list(tree().commands)
    built = build_tree([given, "part"])
    alone = given in everything and given != "help"
    assert list(built.commands) == ([given] if alone else everything)
