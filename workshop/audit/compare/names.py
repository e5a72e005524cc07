"""The names of tools: as the client sees them, and as each server behind has them."""

from workshop.agent.connect import connect
from workshop.agent.mcp_tools import McpTools
from workshop.audit.compare.attempts import attempt
from workshop.audit.compare.evidence import Evidence, Names, NotSeenError, Unseen, seen
from workshop.audit.compare.logins import token_for_upstream
from workshop.audit.compare.rooms import Room

_SECONDS = 5.0
_MCP = "/mcp"


async def list_names(room: Room, found: Evidence) -> Names:
    """The tools that the agent was offered, and those of every other program here that speaks MCP."""
    offered = seen(found.asked).tools
    if not offered:
        raise NotSeenError("the agent saw no tool")
    behind: dict[str, tuple[str, ...]] = {}
    for name, url in room.endpoints.items():
        if name != room.server:
            listed = await attempt(_SECONDS, lambda url=url: _listed(url, room))  # type: ignore[misc]
            if not isinstance(listed, Unseen):
                behind[name] = listed
    return Names(offered, behind)


async def _listed(url: str, room: Room) -> tuple[str, ...]:
    """The tools of a server behind, asked past the system; not every program there is an MCP server."""
    token = token_for_upstream(room)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with connect(
        url if url.endswith(_MCP) else url + _MCP, headers=headers, seconds=_SECONDS
    ) as client:
        return tuple(tool.name for tool in await McpTools(client).list_tools())
