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


# ↓ Your turn: publish it, describe it, and say what it takes and returns. `pace` is in kilometres an hour.
def plan_walk(kilometres, pace):
    hours = kilometres / pace
    return Walk(hours=hours, rests=int(hours // 2))


# ↑

if __name__ == "__main__":
    server.run("stdio")
