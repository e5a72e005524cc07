"""The messages between an agent and a model, as plain values without a wire format."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class ToolSpec:
    """The description of a tool for a model; `input_schema` is a JSON Schema."""

    name: str
    description: str
    input_schema: Mapping[str, Any]


@dataclass(frozen=True)
class ToolCall:
    """A model asks for a tool; `malformed` holds arguments that are not a JSON object, as they came.

    `extra` is what the endpoint attached to the call, such as a signature: it is sent back unchanged.
    """

    id: str
    name: str
    arguments: Mapping[str, Any]
    malformed: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ToolResult:
    """The result of a tool: text for the model, and the same as data if it has a structure."""

    text: str
    data: Any = None
    is_error: bool = False


@dataclass(frozen=True)
class Question:
    """The question of the person."""

    text: str


@dataclass(frozen=True)
class ModelTurn:
    """One reply of a model; without calls, `text` is its answer.

    `extra` is what the endpoint attached to the turn, such as a thinking model's thoughts: without it, some
    endpoints refuse the next turn.
    """

    text: str
    calls: tuple[ToolCall, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ToolReply:
    """The result of one call, for the model."""

    call: ToolCall
    result: ToolResult


Entry = Question | ModelTurn | ToolReply
Conversation = Sequence[Entry]


class ChatModel(Protocol):
    """A model that continues a conversation."""

    @property
    def name(self) -> str:
        """The name of the model, for the person."""
        ...

    async def reply(self, conversation: Conversation, tools: Sequence[ToolSpec]) -> ModelTurn:
        """Continue the conversation: ask for tools, or answer."""
        ...


class Toolbox(Protocol):
    """A set of tools: Python functions, or an MCP server."""

    async def list_tools(self) -> list[ToolSpec]:
        """List the tools."""
        ...

    async def call_tool(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Call one tool; a failure inside it is a result with `is_error`, not an exception."""
        ...
