"""The agent loop: ask the model, run the tools it asks for, return the results to it, repeat."""

from collections.abc import Sequence

from workshop.agent.events import Observer, ToolCalled, ToolReturned, ignore
from workshop.agent.messages import (
    ChatModel,
    Entry,
    Question,
    Toolbox,
    ToolCall,
    ToolReply,
    ToolResult,
    ToolSpec,
)
from workshop.agent.watched import watched_model, watched_tools
from workshop.core.encoding import DEEPEST
from workshop.core.errors import WorkshopError
from workshop.core.text import one_line


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
