"""Which era of the protocol to speak: the newest that gets through to the server and back.

MCP 2026-07-28 wants `resultType`, `ttlMs` and `cacheScope` with a list, and repeats a tool's name in the
header `Mcp-Name`. ToolHive's tool filter (`pkg/mcp/tool_filter.go`) spoils both: up to 0.62 it writes a list
anew as the tools alone; also in 0.63 it puts a renamed tool's real name into the body and not into the
header, which a server that compares the two refuses (-32020). In the era of the handshake, 2025-11-25, both
are right.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import TaskGroup, TaskStatus
from mcp import Client, MCPError
from mcp.client import Transport
from mcp.types import HEADER_MISMATCH, CallToolResult, ListToolsResult
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from workshop.agent.asking_client import AskingClient
from workshop.agent.elicitation import Elicitation
from workshop.agent.events import Observer, Warned

_OLDER = "the older handshake of 2025-11-25 takes its place"
_LISTED = (
    "The tools are no valid answer in MCP {version}, as behind a tool filter of ToolHive 0.44.0: " + _OLDER
)
_CALLED = (
    "A call in MCP {version} arrived with two names, as when ToolHive renames a tool in the body and not in "
    "the header: " + _OLDER
)


@dataclass
class _Older:
    """The client of the older era: opened when it is first needed, and kept as long as the newer one.

    A task of its own holds it: who needs it may be within a time limit that ends before.
    """

    opening: Callable[[], AskingClient]
    opened: Callable[[], None]
    tasks: TaskGroup
    client: AskingClient | None = None
    _one_at_a_time: anyio.Lock = field(default_factory=anyio.Lock)
    _end: anyio.Event = field(default_factory=anyio.Event)

    async def get(self) -> AskingClient:
        async with self._one_at_a_time:
            if self.client is None:
                self.client = await self.tasks.start(self._hold)
                self.opened()
        return self.client

    def close(self) -> None:
        self._end.set()

    async def _hold(self, *, task_status: TaskStatus[AskingClient]) -> None:
        client = self.opening()
        async with client:
            task_status.started(client)
            await self._end.wait()


class CheckedClient(AskingClient):
    """A client of the newer era. It may have listed the tools already, and hands that list to who asks first.

    Once a call has arrived with two names, tools are listed and called in the older era.
    """

    listed: ListToolsResult | None = None
    older: _Older | None = None

    async def list_tools(self, *, cursor: str | None = None, **options: Any) -> ListToolsResult:  # noqa: ANN401 - the SDK's
        """The tools, as the SDK lists them."""
        if self.older and self.older.client:
            return await self.older.client.list_tools(cursor=cursor, **options)
        if cursor is None and not options and self.listed is not None:
            listed, self.listed = self.listed, None
            return listed
        return await super().list_tools(cursor=cursor, **options)

    async def call_tool(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        *more: Any,  # noqa: ANN401 - the SDK's
        **options: Any,  # noqa: ANN401 - same
    ) -> CallToolResult:
        """Call a tool; where its header and its body arrive with two names, in the older era."""
        older = self.older.client if self.older else None
        if older is None:
            try:
                return await super().call_tool(name, arguments, *more, **options)
            except MCPError as mismatch:
                if mismatch.code != HEADER_MISMATCH or self.older is None:
                    raise
                older = await _step_back(self.older, mismatch)
        return await older.call_tool(name, arguments, *more, **options)


async def _step_back(older: _Older, mismatch: MCPError) -> AskingClient:
    try:
        return await older.get()
    except Exception as error:  # whatever keeps the older era from us, the refusal stands
        raise mismatch from error


@contextlib.asynccontextmanager
async def open_in_an_era(
    transport: Callable[[], Transport],
    seconds: float,
    observe: Observer,
    elicitation: Elicitation | None = None,
) -> AsyncIterator[Client]:
    """A client in the newest era there is, or in the older where the newest does not get through."""

    def older() -> AskingClient:
        return AskingClient.over(transport(), seconds, elicitation, mode="legacy")

    client = CheckedClient.over(transport(), seconds, elicitation)
    async with client:
        version = client.protocol_version
        if await _speaks(client):
            async with _stepping_back(
                client, older, lambda: observe(Warned(_CALLED.format(version=version)))
            ):
                yield client
            return
    observe(Warned(_LISTED.format(version=version)))
    async with older() as spoken:
        yield spoken


@contextlib.asynccontextmanager
async def _stepping_back(
    client: CheckedClient, opening: Callable[[], AskingClient], opened: Callable[[], None]
) -> AsyncIterator[None]:
    """Let a client of the newer era step back as long as this is open."""
    if client.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        yield
        return
    async with anyio.create_task_group() as tasks:
        client.older = _Older(opening, opened, tasks)
        try:
            yield
        finally:
            client.older.close()


async def _speaks(client: CheckedClient) -> bool:
    """Whether a list of tools arrives as the client's era of the protocol wants it."""
    if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or client.server_capabilities.tools is None:
        return True
    try:
        client.listed = await client.list_tools()
    except ValidationError:
        return False
    return True
