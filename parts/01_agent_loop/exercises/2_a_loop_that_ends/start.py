"""Exercise 1.2: a loop that ends, whatever the model does."""

from workshop.agent import Agent, Entry, NoAnswerError, Question, Toolbox, ToolReply

MAX_TURNS = 5


async def ask(agent: Agent, toolbox: Toolbox) -> str:
    """Ask the model; run the tools it asks for; return the results to it; repeat until it answers."""
    tools = await toolbox.list_tools()
    conversation: list[Entry] = [Question(agent.question)]
    # ↓ Your turn: MAX_TURNS turns and no more, then NoAnswerError.
    while True:
        reply = await agent.model.reply(conversation, tools)
        if not reply.calls:
            return reply.text
        conversation.append(reply)
        for call in reply.calls:
            result = await toolbox.call_tool(call.name, call.arguments)
            conversation.append(ToolReply(call, result))
    # ↑
