"""Part 3: the same server runs as a container on ToolHive; all the agent needs is its URL."""

from workshop.agent import Agent, McpTools, run_part

SERVER = "http://localhost:8081/mcp"  # the local end of the way to Service `mcp-workshop-proxy`


async def answer(agent: Agent) -> str:
    """Connect over HTTP, and let the loop of part 1 use what ToolHive shows of the server's tools."""
    url = agent.endpoint("workshop", SERVER)
    async with agent.connect(url) as client:
        return await agent.ask(McpTools(client))


if __name__ == "__main__":
    run_part(__file__, answer)
