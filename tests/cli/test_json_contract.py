"""`--json`, on every command that takes it: one envelope on stdout, however the command ends."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.conftest import Outcome, Workshop, tree
from workshop.core.errors import code_of

# What makes a command quick and harmless here; all others are called with their required arguments alone.
EXTRA = {
    "up": ["--dry-run"],
    "rehearse": ["--port", "nobody=8080"],
    "bundle create": ["--override", "nobody=1"],
    "part run": ["--model", "rehearsal"],
    "part compare": ["--only", "nobody"],
    "part construct": ["--cleanup"],
    **{f"part {number} check": ["9"] for number in "234"},  # the first stands for them: seconds each
}
SAMPLES = {"number": "1", "client": "cursor"}
SUCCEED = {
    "up",
    "status",
    "teardown",
    "config",
    "next",
    "login list",
    "login revoke",
    "demo list",
    "part list",
    "part variations",
    "part construct",
}


def commands() -> Iterator[tuple[str, ...]]:
    """The words of every command that takes `--json`."""
    yield from _below(tree(), ())


def _below(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    children = getattr(command, "commands", {})
    for name, child in children.items():
        yield from _below(child, (*path, name))
    if not children and any("--json" in parameter.opts for parameter in command.params):
        yield path


def command_at(path: tuple[str, ...]) -> Any:
    command = tree()
    for word in path:
        command = command.commands[word]
    return command


def named(path: tuple[str, ...]) -> str:
    return " ".join(word for word in path if not word.isdigit())


def required(path: tuple[str, ...]) -> list[str]:
    """A word for each argument that has to be given; none of them names anything that is there."""
    arguments = [
        each for each in command_at(path).params if each.param_type_name == "argument" and each.required
    ]
    return [SAMPLES.get(each.name, "nothing.json") for each in arguments]


def envelope(outcome: Outcome, path: tuple[str, ...]) -> dict[str, Any]:
    """The one document, held to the contract."""
    document: dict[str, Any] = json.loads(outcome.out)
    assert document["version"] == 1
    assert document["command"] == named(path)
    assert document["exit_code"] == outcome.code
    assert document["status"] == ("success" if outcome.code == 0 else "error")
    assert ("error" in document) is (outcome.code != 0)
    assert "data" in document or "error" in document
    if outcome.code:
        assert set(document["error"]) == {"code", "what", "why", "hint"}
        assert document["error"]["code"] == code_of(outcome.code)
        assert document["error"]["what"]
    return document


PATHS = list(commands())
EACH = pytest.mark.parametrize("path", PATHS, ids=" ".join)


def test_the_walk_finds_the_commands() -> None:
    names = {named(path) for path in PATHS}
    assert names >= SUCCEED | {"doctor", "probe", "rehearse", "logs", "part check", "bundle verify", "report"}


@EACH
def test_its_own_end_is_an_envelope(workshop: Workshop, path: tuple[str, ...]) -> None:
    extra = EXTRA.get(" ".join(path)) or EXTRA.get(named(path), [])
    outcome = workshop(*path, *required(path), *extra, "--json")
    document = envelope(outcome, path)
    if named(path) in SUCCEED:
        assert outcome.code == 0, document


@EACH
def test_a_usage_error_is_an_envelope(workshop: Workshop, path: tuple[str, ...]) -> None:
    outcome = workshop(*path, "--json", "--no-such-option")
    assert envelope(outcome, path)["error"]["code"] == "usage"
    assert outcome.err == ""


@EACH
def test_ctrl_c_is_an_envelope(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, path: tuple[str, ...]
) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_at(path), "callback", interrupted)
    outcome = workshop(*path, *required(path), "--json")
    assert outcome.code == 130
    assert envelope(outcome, path)["error"]["code"] == "interrupted"


def test_words_behind_two_dashes_are_no_options(workshop: Workshop) -> None:
    outcome = workshop("prat", "--", "--json")
    assert outcome.out == ""
    assert outcome.err.startswith("Error: ")
