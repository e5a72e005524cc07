"""The agent and its loop: ask the model, run the tools it asks for, return the results to it, repeat."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workshop.agent.approval import Approval, Consent, nobody
from workshop.agent.events import (
    Answered,
    ModelAsked,
    ModelReplied,
    Observer,
    ToolCalled,
    ToolReturned,
    ToolsFound,
    ignore,
)
from workshop.agent.messages import (
    ChatModel,
    Conversation,
    Entry,
    ModelTurn,
    Question,
    Toolbox,
    ToolCall,
    ToolReply,
    ToolResult,
    ToolSpec,
)
from workshop.agent.part import Timeouts
from workshop.core.encoding import DEEPEST
from workshop.core.errors import WorkshopError
from workshop.core.text import one_line

if TYPE_CHECKING:
    import httpx2
    from mcp import Client, StdioServerParameters

    from workshop.agent.token_store import TokenStore


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
    # A part may watch a toolbox itself, before `run_agent` does: each call would be shown twice.
    return WatchedTools(toolbox.toolbox if isinstance(toolbox, WatchedTools) else toolbox, observe)


class NoAnswerError(WorkshopError):
    """The model did not stop asking for tools."""

    def __init__(self, turns: int) -> None:
        super().__init__(
            f"The model gave no answer in {turns} turns",
            why="It did not stop asking for tools",
            hint="Ask a narrower question, set another WORKSHOP_MODEL, or raise MAX_TURNS of part 1",
        )


async def run_agent(
    question: str, model: ChatModel, toolbox: Toolbox, observe: Observer = ignore, max_turns: int = 10
) -> str:
    """Answer `question` with the tools of `toolbox`.

    Raises WorkshopError when there are no tools, NoAnswerError after `max_turns` turns of the model.
    """
    model, toolbox = watched_model(model, observe), watched_tools(toolbox, observe)
    tools = await _find_tools(toolbox)
    conversation: list[Entry] = [Question(question)]
    for _ in range(max_turns):
        reply = await model.reply(conversation, tools)
        if not reply.calls:
            return reply.text
        conversation.append(reply)
        for call in reply.calls:
            result = await _call(call, tools, toolbox, observe)
            conversation.append(ToolReply(call, result))
    raise NoAnswerError(max_turns)


async def _find_tools(toolbox: Toolbox) -> Sequence[ToolSpec]:
    tools = await toolbox.list_tools()
    if not tools:
        raise WorkshopError("There are no tools to answer with", why="The toolbox is empty")
    return tools


async def _call(call: ToolCall, tools: Sequence[ToolSpec], toolbox: Toolbox, observe: Observer) -> ToolResult:
    mistake = _mistake(call, tools)
    if not mistake:
        return await toolbox.call_tool(call.name, call.arguments)
    # Reported like a call, so that the person can follow why the model tries again.
    observe(ToolCalled(call.name, call.arguments))
    observe(ToolReturned(call.name, one_line(mistake), is_error=True))
    return ToolResult(mistake, is_error=True)


def _mistake(call: ToolCall, tools: Sequence[ToolSpec]) -> str:
    """A mistake of the model, in words that help it in its next turn; empty without one."""
    known = [tool.name for tool in tools]
    if call.name not in known:
        return f"There is no tool {one_line(call.name)!r}. The tools are: {', '.join(known)}"
    if call.malformed:
        wanted = f"must be one JSON object, of UTF-8 text and at most {DEEPEST} levels"
        return f"The arguments {wanted}; these are not: {one_line(call.malformed)}"
    return ""


@dataclass(frozen=True)
class Agent:
    """What a part's `answer` gets: everything except the tools, which the part chooses."""

    question: str
    model: ChatModel
    approval: Approval
    logins: Path
    endpoints: Mapping[str, str] = field(default_factory=dict)
    timeouts: Timeouts = field(default_factory=Timeouts)
    observe: Observer = ignore
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers that `connect` sends to the MCP server only; they may contain secrets."""
    consent: Consent = nobody
    """Asks the person before a page of a server is opened."""

    def __post_init__(self) -> None:
        """Let the model report its turns to `observe`."""
        object.__setattr__(self, "model", watched_model(self.model, self.observe))

    def watch(self, toolbox: Toolbox) -> Toolbox:
        """The same toolbox, which also shows its tools and each call on the screen."""
        return watched_tools(toolbox, self.observe)

    @property
    def tokens(self) -> "TokenStore":
        """The stored logins of this instance."""
        from workshop.agent.token_store import TokenStore

        return TokenStore(self.logins, self.observe)

    def endpoint(self, name: str, default: str) -> str:
        """The URL of the workload `name` that `up` started, else `default`."""
        return self.endpoints.get(name, default)

    def connect(
        self, target: "str | StdioServerParameters", *, auth: "httpx2.Auth | None" = None
    ) -> "AbstractAsyncContextManager[Client]":
        """Connect to an MCP server by URL, or start one as a program (see `workshop.agent.connect`).

        Its tools may need the person at a page (see `workshop.agent.elicitation`).
        """
        from workshop.agent.connect import connect
        from workshop.agent.elicitation import Person

        return connect(
            target,
            auth=auth,
            headers=self.headers,
            person=Person(self.approval, self.consent, self.timeouts.approval),
            seconds=self.timeouts.call,
            observe=self.observe,
        )

    async def ask(self, toolbox: Toolbox) -> str:
        """Answer the question with these tools (see `run_agent`)."""
        return await run_agent(self.question, self.model, toolbox, self.observe)
