"""Part 1's tools and loop, and their agreement with the server of part 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mcp import Client

from workshop.agent import (
    Agent,
    ModelTurn,
    PrintUrl,
    PythonTools,
    RehearsalModel,
    ToolCall,
    ToolReply,
    ToolSpec,
    events,
)
from workshop.agent.loop import NoAnswerError
from workshop.agent.part import Part
from workshop.agent.run import load_answer

if TYPE_CHECKING:
    from tests.parts.conftest import RunningServer
    from workshop.agent import ChatModel
    from workshop.agent.messages import Conversation


@dataclass
class ScriptedModel:
    """Takes its turns from a list, and remembers what it was told."""

    turns: list[ModelTurn]
    told: list[Conversation] = field(default_factory=list)
    name: str = "scripted"

    async def reply(self, conversation: Conversation, tools: Sequence[ToolSpec]) -> ModelTurn:
        self.told.append(list(conversation))
        return self.turns[len(self.told) - 1]


@pytest.fixture
def part_1(parts: Path) -> Path:
    return parts / "01_agent_loop"


def tools_of(part_1: Path) -> PythonTools:
    return PythonTools(*load_answer(part_1).__globals__["TOOLS"])


def agent_with(model: ChatModel, tmp_path: Path, seen: list[events.Event], question: str = "?") -> Agent:
    return Agent(question, model, PrintUrl(), tmp_path / "logins", observe=seen.append)


def call(name: str, **arguments: object) -> ModelTurn:
    return ModelTurn("", (ToolCall("1", name, arguments),))


async def test_the_loop_goes_on_until_the_model_answers(part_1: Path, tmp_path: Path) -> None:
    part = Part.load(part_1)
    seen: list[events.Event] = []
    model = RehearsalModel(part.plans, part.question)
    answer = await load_answer(part_1)(agent_with(model, tmp_path, seen, part.question))
    assert "trail-mapper" in answer
    assert "GPX export drops the last waypoint" in answer
    assert [event.name for event in seen if isinstance(event, events.ToolCalled)] == [
        "list_repositories",
        "list_issues",
    ]
    assert isinstance(seen[0], events.ToolsFound)
    assert sum(isinstance(event, events.ModelAsked) for event in seen) == 3


async def test_the_model_hears_of_a_failed_call_and_can_do_better(part_1: Path, tmp_path: Path) -> None:
    model = ScriptedModel(
        [
            call("list_issues", repository="nowhere"),
            call("list_issues", repository="sensor-garden"),
            ModelTurn("It is about NaN"),
        ]
    )
    answer = await load_answer(part_1)(agent_with(model, tmp_path, []))
    assert answer == "It is about NaN"
    replies = [entry.result for entry in model.told[-1] if isinstance(entry, ToolReply)]
    assert [reply.is_error for reply in replies] == [True, False]
    assert "There is no repository `nowhere`; there are trail-mapper" in replies[0].text


async def test_every_turn_sends_the_whole_conversation(part_1: Path, tmp_path: Path) -> None:
    model = ScriptedModel([call("list_repositories"), call("list_repositories"), ModelTurn("done")])
    await load_answer(part_1)(agent_with(model, tmp_path, []))
    assert [len(conversation) for conversation in model.told] == [1, 3, 5]


async def test_a_lost_model_is_given_up_after_ten_turns(part_1: Path, tmp_path: Path) -> None:
    model = ScriptedModel([call("list_repositories")] * 20)
    with pytest.raises(NoAnswerError, match="The model gave no answer in 10 turns"):
        await load_answer(part_1)(agent_with(model, tmp_path, []))
    assert len(model.told) == 10


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("calculate", {"operation": "divide", "a": 1, "b": 0}, "Cannot divide by zero"),
        ("calculate", {"operation": "multiply", "a": 1e308, "b": 10}, "not a finite number"),
        ("calculate", {"operation": "__import__", "a": 1, "b": 1}, "operation"),
        ("get_issue", {"repository": "dotfiles", "number": 7}, "dotfiles has no issue #7"),
        ("list_issues", {"repository": "dotfiles", "state": "odd"}, "state"),
        ("list_issues", {}, "repository"),
    ],
)
async def test_a_mistake_is_a_result_and_not_a_crash(
    part_1: Path, name: str, arguments: Mapping[str, Any], text: str
) -> None:
    result = await tools_of(part_1).call_tool(name, arguments)
    assert result.is_error
    assert text in result.text


CALLS: list[tuple[str, dict[str, Any]]] = [
    ("list_repositories", {}),
    ("list_issues", {"repository": "trail-mapper"}),
    ("list_issues", {"repository": "bread-journal", "state": "closed"}),
    ("list_issues", {"repository": "dotfiles", "state": "all"}),
    ("get_issue", {"repository": "sensor-garden", "number": 5}),
    ("calculate", {"operation": "divide", "a": 7, "b": 2}),
]


@pytest.mark.parametrize(("name", "arguments"), CALLS)
async def test_both_parts_return_the_same(
    part_1: Path, http_server: RunningServer, name: str, arguments: dict[str, Any]
) -> None:
    ours = await tools_of(part_1).call_tool(name, arguments)
    async with Client(http_server.url) as client:
        theirs = await client.call_tool(name, arguments)
    assert ours.data == theirs.structured_content


async def test_both_parts_describe_their_tools_alike(part_1: Path, http_server: RunningServer) -> None:
    ours = {
        tool.name: (tool.description, essence(tool.input_schema))
        for tool in await tools_of(part_1).list_tools()
    }
    async with Client(http_server.url) as client:
        listed = (await client.list_tools()).tools
    theirs = {tool.name: (tool.description, essence(tool.input_schema)) for tool in listed}
    assert set(theirs) - set(ours) == {"slow_count"}
    assert ours == {name: theirs[name] for name in ours}


def essence(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What a model reads of a schema: each argument's type, choices and default, and which it must give."""
    kept = ("type", "enum", "default")
    properties = {
        name: {key: described[key] for key in kept if key in described}
        for name, described in schema.get("properties", {}).items()
    }
    return {"properties": properties, "required": sorted(schema.get("required", []))}
