"""Part 2: the tools live in an MCP server; the agent starts it and talks to it over stdin and stdout."""

import sys
from pathlib import Path

from mcp import StdioServerParameters

from workshop.agent import Agent, McpTools, run_part

SERVER = StdioServerParameters(
    command=sys.executable,
    args=[str(Path(__file__).with_name("server.py"))],
)


async def answer(agent: Agent) -> str:
    """Start the server, and let the loop of part 1 use its tools."""
    async with agent.connect(SERVER) as client:  # one process, one session, ended together
        return await agent.ask(McpTools(client))  # tools/list and tools/call instead of Python calls


if __name__ == "__main__":
    run_part(__file__, answer)
