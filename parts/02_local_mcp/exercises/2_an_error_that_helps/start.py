"""Exercise 2.2: an error that helps a model to correct its call."""

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("exercise")
PLACES = {"Hut on the Ridge": 2140, "Mill Bridge": 890, "Lake End": 1260}


@server.tool()
def altitude(place: str) -> int:
    """How high a place is, in metres."""
    # ↓ Your turn: for an unknown place, a ToolError that names it and the places there are.
    return PLACES[place]
    # ↑


if __name__ == "__main__":
    server.run("stdio")
