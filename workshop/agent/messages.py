"""What an agent and a model say to each other; plain values, no wire format."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class ToolSpec:
    """What a model learns about a tool; `input_schema` is JSON Schema."""

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
    """What a tool gave back: text for the model, and the same as data where it has a structure."""

    text: str
    data: Any = None
    is_error: bool = False


@dataclass(frozen=True)
class Question:
    """What the person asked."""

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
    """The result of one call, as the model gets it."""

    call: ToolCall
    result: ToolResult


Entry = Question | ModelTurn | ToolReply
Conversation = Sequence[Entry]


class ChatModel(Protocol):
    """Anything that continues a conversation."""

    @property
    def name(self) -> str:
        """Which model this is, as shown to the person."""
        ...

    async def reply(self, conversation: Conversation, tools: Sequence[ToolSpec]) -> ModelTurn:
        """Continue the conversation: ask for tools, or answer."""
        ...


class Toolbox(Protocol):
    """Anything that has tools: Python functions, or an MCP server."""

    async def list_tools(self) -> list[ToolSpec]:
        """List the tools there are."""
        ...

    async def call_tool(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Call one tool; what goes wrong inside it is a result with `is_error`, not an exception."""
        ...
