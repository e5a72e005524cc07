"""Part 1: an agent is a loop around a model, and its tools are plain functions."""

from tools import TOOLS

from workshop.agent import (
    Agent,
    Entry,
    NoAnswerError,
    PythonTools,
    Question,
    ToolCall,
    ToolReply,
    ToolResult,
    events,
    run_part,
)

MAX_TURNS = 10


async def answer(agent: Agent) -> str:
    """Ask the model; run the tools it asks for; tell it the results; repeat until it answers."""
    toolbox = PythonTools(*TOOLS)
    tools = await toolbox.list_tools()
    agent.observe(events.ModelAnnounced(agent.model.name))
    agent.observe(events.ToolsFound(tuple(tool.name for tool in tools)))

    conversation: list[Entry] = [Question(agent.question)]
    for turn in range(1, MAX_TURNS + 1):
        agent.observe(events.ModelAsked(turn))
        reply = await agent.model.reply(conversation, tools)
        agent.observe(events.ModelReplied(turn, len(reply.calls)))
        if not reply.calls:
            return reply.text
        conversation.append(reply)
        for call in reply.calls:
            result = await run_tool(agent, toolbox, call)
            conversation.append(ToolReply(call, result))
    raise NoAnswerError(MAX_TURNS)


async def run_tool(agent: Agent, toolbox: PythonTools, call: ToolCall) -> ToolResult:
    """Call one function; what goes wrong inside it is a result too, for the model to read."""
    agent.observe(events.ToolCalled(call.name, call.arguments))
    result = await toolbox.call_tool(call.name, call.arguments)
    agent.observe(events.ToolReturned(call.name, result.text, result.is_error))
    return result


if __name__ == "__main__":
    run_part(__file__, answer)
