"""The loop: what the model asks for is done, what it does wrong is told to it, and it ends."""

from collections.abc import Sequence

import pytest

from workshop.agent.events import Answered, Event, ToolCalled, ToolReturned, ToolsFound
from workshop.agent.loop import run_agent
from workshop.agent.messages import Conversation, ModelTurn, ToolCall, ToolReply, ToolSpec
from workshop.agent.toolbox import PythonTools
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
