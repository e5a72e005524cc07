"""Part 1: an agent is a loop around a model, and its tools are plain functions."""

from tools import TOOLS

from workshop.agent import Agent, Entry, NoAnswerError, PythonTools, Question, ToolReply, run_part

MAX_TURNS = 10


async def answer(agent: Agent) -> str:
    """Ask the model; run the tools it asks for; show it the results; repeat until it answers."""
    toolbox = agent.watch(PythonTools(*TOOLS))  # `watch` shows you each call; the loop works without it
    tools = await toolbox.list_tools()
    conversation: list[Entry] = [Question(agent.question)]
    for _ in range(MAX_TURNS):
        reply = await agent.model.reply(conversation, tools)
        if not reply.calls:
            return reply.text
        conversation.append(reply)
        for call in reply.calls:
            result = await toolbox.call_tool(call.name, call.arguments)
            conversation.append(ToolReply(call, result))
    raise NoAnswerError(MAX_TURNS)


if __name__ == "__main__":
    run_part(__file__, answer)
