"""What tells the screen about a model and a toolbox, so that a loop need not do it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workshop.agent.events import (
    Answered,
    ModelAsked,
    ModelReplied,
    Observer,
    ToolCalled,
    ToolReturned,
    ToolsFound,
)
from workshop.agent.messages import ChatModel, Conversation, ModelTurn, Toolbox, ToolResult, ToolSpec
from workshop.core.text import one_line


@dataclass(frozen=True)
class WatchedModel:
    """A model that reports each turn."""

    model: ChatModel
    observe: Observer

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.model.name

    async def reply(self, conversation: Conversation, tools: Sequence[ToolSpec]) -> ModelTurn:
        """Ask the model, and report the turn."""
        turn = 1 + sum(isinstance(entry, ModelTurn) for entry in conversation)
        self.observe(ModelAsked(turn))
        reply = await self.model.reply(conversation, tools)
        self.observe(ModelReplied(turn, len(reply.calls)))
        if not reply.calls:
            self.observe(Answered(reply.text))
        return reply


@dataclass(frozen=True)
class WatchedTools:
    """A toolbox that reports its tools and each call."""

    toolbox: Toolbox
    observe: Observer

    async def list_tools(self) -> list[ToolSpec]:
        """List the tools, and report their names."""
        tools = await self.toolbox.list_tools()
        self.observe(ToolsFound(tuple(tool.name for tool in tools)))
        return tools

    async def call_tool(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Call the tool, and report the call and its result."""
        self.observe(ToolCalled(name, arguments))
        result = await self.toolbox.call_tool(name, arguments)
        self.observe(ToolReturned(name, one_line(result.text), result.is_error))
        return result


def watched_model(model: ChatModel, observe: Observer) -> WatchedModel:
    """The model with this observer, and with no other one."""
    return WatchedModel(model.model if isinstance(model, WatchedModel) else model, observe)


def watched_tools(toolbox: Toolbox, observe: Observer) -> WatchedTools:
    """The toolbox with this observer, and with no other one."""
    return WatchedTools(toolbox.toolbox if isinstance(toolbox, WatchedTools) else toolbox, observe)
