"""What is printed: where, in which form, and what never."""

import io
import json

import pytest

from workshop.core.console import Console
from workshop.core.errors import UsageError
from workshop.core.result import Result, Table


@pytest.fixture
def streams() -> tuple[io.StringIO, io.StringIO]:
    return io.StringIO(), io.StringIO()


@pytest.fixture
def console(streams: tuple[io.StringIO, io.StringIO]) -> Console:
    return Console(*streams)


def test_data_goes_to_stdout_and_the_next_step_to_stderr(
    console: Console, streams: tuple[io.StringIO, io.StringIO]
) -> None:
    console.render(
        Result("x", headline="a", lines=["line"], table=Table(("k",), [("v",)]), next="`workshop up`")
    )
    out, err = (stream.getvalue() for stream in streams)
    assert out.split() == ["a", "line", "k", "v"]
    assert err == "Next: `workshop up`\n"


def test_through_a_pipe_a_row_is_one_line_however_long(
    console: Console, streams: tuple[io.StringIO, io.StringIO]
) -> None:
    console.render(Result("x", table=Table(("k", "v"), [("a", "word " * 100), ("b", "")])))
    assert streams[0].getvalue() == f"k   v\na   {('word ' * 100).rstrip()}\nb\n"


def test_json_is_one_envelope_and_nothing_else(
    console: Console, streams: tuple[io.StringIO, io.StringIO]
) -> None:
    console.render(Result("x", {"a": (1, 2)}, "a line", exit_code=1), as_json=True)
    assert json.loads(streams[0].getvalue()) == {
        "version": 1,
        "command": "x",
        "status": "error",
        "exit_code": 1,
        "data": {"a": [1, 2]},
        "next": "",
        "error": {"code": "step-failed", "what": "a line", "why": "", "hint": ""},
    }
    assert streams[1].getvalue() == ""


def test_an_error_is_reported_in_three_lines(
    console: Console, streams: tuple[io.StringIO, io.StringIO]
) -> None:
    console.error(UsageError("What [bold]", why="Why", hint="Do"))
    assert streams[1].getvalue() == "Error: What [bold]\n  Why\n  → Do\n"


def test_without_a_terminal_steps_are_started_and_done_lines(
    console: Console, streams: tuple[io.StringIO, io.StringIO]
) -> None:
    with console.progress() as progress, progress.step("One") as step:
        step.note("noted")
    first, second = streams[1].getvalue().splitlines()
    assert first == "… One"
    assert second.startswith("✓ One · noted (")
    assert second.endswith("s) done")


@pytest.mark.parametrize(("error", "state"), [(ValueError, "failed"), (KeyboardInterrupt, "stopped")])
def test_a_step_that_ends_early_reports_how(
    console: Console, streams: tuple[io.StringIO, io.StringIO], error: type[BaseException], state: str
) -> None:
    with pytest.raises(error), console.progress() as progress, progress.step("One"):
        raise error
    assert streams[1].getvalue().rstrip().endswith(state)


def test_a_hidden_value_is_printed_nowhere(
    console: Console, streams: tuple[io.StringIO, io.StringIO]
) -> None:
    console.hide(["sample-value", ""])
    console.out("a sample-value b")
    console.say("a sample-value b")
    console.error(UsageError("sample-value", why="sample-value", hint="sample-value"))
    console.render(Result("x", {"a": "sample-value"}, table=Table(("k",), [("sample-value",)])))
    console.render(Result("x", {"a": "sample-value"}), as_json=True)
    assert "sample-value" not in streams[0].getvalue() + streams[1].getvalue()


def test_a_foreign_text_in_an_error_forges_no_line(
    console: Console, streams: tuple[io.StringIO, io.StringIO]
) -> None:
    console.error(UsageError("`a\nError: b`", why="\x1b[2J\u202ex", hint="y\rz"))
    shown = streams[1].getvalue().splitlines()
    assert shown == ["Error: `a\\x0aError: b`", "  \\x1b[2J\\x202ex", "  → y\\x0dz"]
