"""How much is said, to whom, in which colours: the same everywhere on the command line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.cli.conftest import Workshop, tree
from tests.environment import IsolatedInstance
from tests.lab.tools.fakes import FakeTools

RUN = ("part", "1", "run", "--model", "rehearsal")
ANIMATION = ("\x1b[?25l", "\x1b[2K", "\x1b[1A", "\r")


def every_command(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from every_command(child, (*path, name))


def test_every_command_and_group_knows_how_much_to_say(workshop: Workshop) -> None:
    for path in every_command(tree()):
        told = workshop(*path, "-v", "-q", "--no-input", "--help")
        assert told.code == 0, path
        assert all(option in told.out for option in ("-v, --verbose", "-q, --quiet", "--no-input")), path


@pytest.mark.parametrize("arguments", [("-q", *RUN), (*RUN, "-q"), (*RUN, "--quiet"), (*RUN, "-qqv")])
def test_quiet_says_the_answer_and_nothing_else(workshop: Workshop, arguments: tuple[str, ...]) -> None:
    outcome = workshop(*arguments)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("trail-mapper has the most open issues")


def test_a_value_that_looks_like_an_option_stays_a_value(workshop: Workshop) -> None:
    outcome = workshop(*RUN, "--question", "-q")
    assert outcome.code == 0
    assert "rehearsal model (no LLM)" in outcome.err


def test_an_error_is_reported_however_quiet_we_are(workshop: Workshop) -> None:
    outcome = workshop("part", "3", "run", "-qqq")
    assert outcome.code == 3
    assert outcome.err.startswith("Error: ")
    assert "→ Run `workshop up` first" in outcome.err


@pytest.mark.parametrize(("quiet", "warned"), [("-q", True), ("-qq", False)])
def test_a_warning_takes_two_to_be_silent(
    workshop: Workshop,
    tmp_path: Path,
    quiet: str,
    warned: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "progress.json").write_text("{", encoding="utf-8")
    assert ("Warning: Your progress could not be read" in workshop("next", quiet).err) is warned


@pytest.mark.parametrize(
    ("loud", "echoed", "streamed"), [("-q", False, False), ("-v", True, False), ("-vv", True, True)]
)
def test_external_commands_are_shown_by_one_v_and_their_output_by_two(
    workshop: Workshop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    loud: str,
    echoed: bool,  # noqa: FBT001 - parameters of the test
    streamed: bool,  # noqa: FBT001
) -> None:
    fakes = FakeTools(tmp_path / "fakes", monkeypatch)
    fakes.on("docker", stdout="canary-output\n", code=1)
    outcome = workshop("doctor", loud)
    assert ("$ docker " in outcome.err) is echoed
    assert ("canary-output" in outcome.err) is streamed


def written(instance: IsolatedInstance, *arguments: str, **variables: str) -> str:
    with instance.begin("-m", "workshop", *arguments, **variables) as command:
        return "".join(command.communicate(timeout=60))


def test_without_a_terminal_there_is_neither_colour_nor_animation(instance: IsolatedInstance) -> None:
    assert "\x1b" not in written(instance, *RUN)


def test_forced_colour_through_a_pipe_brings_no_animation_and_breaks_no_line(
    instance: IsolatedInstance,
) -> None:
    told = written(instance, *RUN, FORCE_COLOR="1", COLUMNS="40")
    assert "\x1b[1m" in told
    assert "\x1b[36mNext: `workshop part 1 check`" in told
    assert not [code for code in ANIMATION if code in told]
    assert "(4); its newest is #42: GPX export drops the last waypoint" in told


def test_no_colour_wins_over_forced_colour(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[36m" in workshop(*RUN).err
    monkeypatch.setenv("NO_COLOR", "1")
    outcome = workshop(*RUN)
    assert "\x1b[36m" not in outcome.out + outcome.err


def test_json_is_never_coloured(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    outcome = workshop("part", "list", "--json")
    assert (json.loads(outcome.out)["status"], outcome.err) == ("success", "")


def test_without_input_nobody_is_asked_at_a_terminal_either(instance: IsolatedInstance) -> None:
    child = instance.spawn("part", "1", "reset", "--no-input")
    child.expect("there is no terminal to ask at")
    child.expect("`workshop part 1 reset --no-input --yes` goes ahead without asking")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 2


def test_an_address_that_has_to_be_opened_is_reported_however_quiet_we_are(running: IsolatedInstance) -> None:
    child = running.spawn("part", "4", "run", "--no-browser", "--model", "rehearsal", "-qq", timeout=60)
    child.expect(r"open this address in a browser")
    child.expect(r"http://localhost:\d+/oauth/authorize\?\S+\r\n")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
