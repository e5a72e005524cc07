"""Exercise 2.1: an MCP server with one tool."""

from dataclasses import dataclass

from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

READ_ONLY = ToolAnnotations(read_only_hint=True)
server = MCPServer("exercise")


@dataclass(frozen=True)
class Walk:
    hours: float
    rests: int


# ↓ The decorator publishes it; the types become the schemas of its arguments and of its result.
@server.tool(annotations=READ_ONLY)
def plan_walk(kilometres: float, pace: float) -> Walk:
    """How long a walk takes at a pace in kilometres an hour, and how many rests it needs."""
    hours = kilometres / pace
    return Walk(hours=hours, rests=int(hours // 2))


# ↑

if __name__ == "__main__":
    server.run("stdio")
