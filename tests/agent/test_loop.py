"""The loop and its agent: the model's calls are made, its mistakes are reported to it, and it ends."""

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import anyio
import pytest

from workshop.agent import events as on
from workshop.agent.events import Answered, Event, ToolCalled, ToolReturned, ToolsFound
from workshop.agent.loop import run_agent
from workshop.agent.messages import Conversation, ModelTurn, ToolCall, ToolReply, ToolSpec
from workshop.agent.toolbox import PythonTools
from workshop.agent.view import View
from workshop.core.console import Console
from workshop.core.errors import WorkshopError


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Scripted:
    """A model that says what it was told to say, and remembers what it heard."""

    name = "script"

    def __init__(self, *turns: ModelTurn) -> None:
        self._turns = list(turns)
        self.heard: list[Conversation] = []

    async def reply(self, conversation: Conversation, tools: Sequence[ToolSpec]) -> ModelTurn:
        self.heard.append(list(conversation))
        return self._turns.pop(0) if len(self._turns) > 1 else self._turns[0]


async def test_the_model_gets_each_result_and_its_text_without_calls_is_the_answer() -> None:
    model = Scripted(ModelTurn("", (ToolCall("1", "add", {"a": 2, "b": 3}),)), ModelTurn("It is 5"))
    events: list[Event] = []
    assert await run_agent("2 + 3?", model, PythonTools(add), events.append) == "It is 5"
    last = model.heard[1][-1]
    assert isinstance(last, ToolReply)
    assert last.result.text == "5"
    assert ToolsFound(("add",)) in events
    assert ToolCalled("add", {"a": 2, "b": 3}) in events
    assert ToolReturned("add", "5", is_error=False) in events
    assert events[-1] == Answered("It is 5")


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (ToolCall("1", "subtract", {}), "There is no tool 'subtract'. The tools are: add"),
        (ToolCall("1", "add", {}, malformed="{a: 2"), "must be one JSON object"),
        (ToolCall("1", "add", {"a": 2}), "Invalid arguments: `b`"),
        (ToolCall("1", "add", {"a": 2, "b": "many"}), "Invalid arguments: `b`"),
    ],
)
async def test_what_the_model_does_wrong_is_reported_to_it_as_an_error(call: ToolCall, told: str) -> None:
    model = Scripted(ModelTurn("", (call,)), ModelTurn("sorry"))
    assert await run_agent("?", model, PythonTools(add)) == "sorry"
    last = model.heard[1][-1]
    assert isinstance(last, ToolReply)
    assert last.result.is_error
    assert told in last.result.text


async def test_every_call_of_one_turn_is_answered_in_order() -> None:
    calls = (ToolCall("1", "add", {"a": 1, "b": 1}), ToolCall("2", "add", {"a": 2, "b": 2}))
    model = Scripted(ModelTurn("", calls), ModelTurn("done"))
    await run_agent("?", model, PythonTools(add))
    assert [entry.result.text for entry in model.heard[1] if isinstance(entry, ToolReply)] == ["2", "4"]


async def test_a_model_that_never_answers_is_stopped() -> None:
    model = Scripted(ModelTurn("", (ToolCall("1", "add", {"a": 1, "b": 1}),)))
    with pytest.raises(WorkshopError, match="no answer in 3 turns"):
        await run_agent("?", model, PythonTools(add), max_turns=3)
    assert len(model.heard) == 3


async def test_an_empty_toolbox_is_an_error_and_the_model_is_not_asked() -> None:
    model = Scripted(ModelTurn("I made this up"))
    with pytest.raises(WorkshopError, match="no tools"):
        await run_agent("?", model, PythonTools())
    assert not model.heard


QUESTION = "Open localhost in your browser?"


@dataclass
class Terminal:
    """A console at a terminal, and the person's side of it."""

    console: Console
    person: int

    async def until(self, text: str) -> str:
        """What is on the screen, once `text` is."""
        shown = b""
        with anyio.fail_after(60):
            while text.encode() not in shown:
                shown += await anyio.to_thread.run_sync(os.read, self.person, 4096, abandon_on_cancel=True)
        return shown.decode()

    async def answered(self, typed: str) -> bool | None:
        """What `View.agrees` makes of `typed`, in the middle of a step."""
        said: list[bool | None] = []
        with View(self.console) as view:
            view.observe(on.ToolCalled("look", {}))

            async def ask() -> None:
                said.append(await view.agrees(QUESTION))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await self.until(f"{QUESTION} [y/N]")
                os.write(self.person, typed.encode())
            view.observe(on.ToolReturned("look", "done", is_error=False))
        return said[0]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    person, program = os.openpty()
    with (
        os.fdopen(program, "w", encoding="utf-8") as screen,
        os.fdopen(os.dup(program), encoding="utf-8") as keyboard,
    ):
        monkeypatch.setattr("sys.stdin", keyboard)
        yield Terminal(Console(io.StringIO(), screen), person)
    os.close(person)


@pytest.mark.parametrize(("typed", "agreed"), [("y\n", True), ("Yes\n", True), ("n\n", False), ("\n", False)])
async def test_only_a_yes_is_one(terminal: Terminal, typed: str, agreed: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert await terminal.answered(typed) is agreed


async def test_another_answer_is_asked_again_and_the_decision_is_shown(terminal: Terminal) -> None:
    said: list[bool | None] = []
    with View(terminal.console) as view:

        async def ask() -> None:
            said.append(await view.agrees(QUESTION))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await terminal.until("[y/N]")
            os.write(terminal.person, b"maybe\n")
            assert "Answer y for yes or n for no" in await terminal.until(f"{QUESTION} [y/N]")
            os.write(terminal.person, b"n\n")
            await terminal.until("The page is not opened")
    assert said == [False]


async def test_the_end_of_the_keyboard_is_a_no(terminal: Terminal) -> None:
    assert await terminal.answered("\x04") is False


async def test_nothing_spins_over_what_the_person_types(terminal: Terminal) -> None:
    with View(terminal.console) as view:
        view.observe(on.ToolCalled("look", {}))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(view.agrees, QUESTION)
            shown = await terminal.until("[y/N]")
            with anyio.move_on_after(0.3):  # it spins 12 times a second
                shown += await terminal.until("look")
            os.write(terminal.person, b"\n")
        assert "look" in await terminal.until("look"), "and then it goes on"
    assert "look" not in shown.partition("[y/N]")[2]


async def test_nobody_is_asked_where_nobody_is(terminal: Terminal) -> None:
    with View(Console(io.StringIO(), io.StringIO())) as view:
        assert await view.agrees(QUESTION) is None
    terminal.console.asks = False  # --no-input
    with View(terminal.console) as view:
        assert await view.agrees(QUESTION) is None
