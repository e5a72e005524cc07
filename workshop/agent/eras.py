"""Which era of the protocol to speak: the newest that gets through to the server and back.

MCP 2026-07-28 wants `resultType`, `ttlMs` and `cacheScope` with a list. The tool filter of ToolHive 0.44.0
writes it anew as the tools alone (`pkg/mcp/tool_filter.go`), and leaves a renamed tool as it is in the header
`Mcp-Name`, which the server refuses. In the era of the handshake, 2025-11-25, both are right.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from mcp import Client
from mcp.client import Transport
from mcp.types import ListToolsResult
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from workshop.agent.asking_client import AskingClient
from workshop.agent.elicitation import Elicitation
from workshop.agent.events import Observer, Warned

_TOLD = (
    "The tools are no valid answer in MCP {version}, as behind a tool filter of ToolHive 0.44.0: "
    "the older handshake of 2025-11-25 takes its place"
)


class CheckedClient(AskingClient):
    """A client that has listed the tools once already, and hands that list to who asks first."""

    listed: ListToolsResult | None = None

    async def list_tools(self, *, cursor: str | None = None, **options: Any) -> ListToolsResult:  # noqa: ANN401 - the SDK's
        """The tools, as the SDK lists them."""
        if cursor is None and not options and self.listed is not None:
            listed, self.listed = self.listed, None
            return listed
        return await super().list_tools(cursor=cursor, **options)


@contextlib.asynccontextmanager
async def open_in_an_era(
    transport: Callable[[], Transport],
    seconds: float,
    observe: Observer,
    elicitation: Elicitation | None = None,
) -> AsyncIterator[Client]:
    """A client in the newest era there is, or in the older where the newest does not get through."""
    client = CheckedClient.over(transport(), seconds, elicitation)
    async with client:
        version = client.protocol_version
        if await _speaks(client):
            yield client
            return
    observe(Warned(_TOLD.format(version=version)))
    async with AskingClient.over(transport(), seconds, elicitation, mode="legacy") as older:
        yield older


async def _speaks(client: CheckedClient) -> bool:
    """Whether a list of tools arrives as the client's era of the protocol wants it."""
    if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or client.server_capabilities.tools is None:
        return True
    try:
        client.listed = await client.list_tools()
    except ValidationError:
        return False
    return True
