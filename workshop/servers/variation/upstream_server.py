"""An MCP server behind ours, asked with a credential that the caller of each request decides."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolRequest, CallToolRequestParams, CallToolResult, Tool

logging.getLogger("mcp.client").setLevel(logging.CRITICAL)  # it logs, with tracebacks, what it then raises
_LIST_SECONDS, _CALL_SECONDS = 5.0, 25.0  # the agent waits 30
_MOST_PAGES = 50


class UpstreamServerError(Exception):
    """The server did not do what it was asked; the text is for the caller."""


@dataclass(frozen=True)
class UpstreamServer:
    """The server at `url`; `name` is what callers know it by.

    A session with it is opened when it is needed, for one caller, and closed behind the answer. Every method
    raises UpstreamServerError.
    """

    url: str
    name: str
    _tls: ssl.SSLContext = field(default_factory=httpx2.create_ssl_context, repr=False)

    async def tools(self, token: str) -> list[Tool]:
        """All its tools, whatever their number of pages."""
        found: list[Tool] = []
        cursor: str | None = None
        async with self._session(token, _LIST_SECONDS) as client:
            for _ in range(_MOST_PAGES):
                page = await client.list_tools(cursor=cursor)
                found, cursor = [*found, *page.tools], page.next_cursor
                if not cursor:
                    break
        return found

    async def call(self, token: str, tool: str, arguments: Mapping[str, Any] | None) -> CallToolResult:
        params = CallToolRequestParams(name=tool, arguments=None if arguments is None else dict(arguments))
        async with self._session(token, _CALL_SECONDS) as client:
            # Not `client.call_tool`: it would list the tools too, in the caller's name.
            return await client.session.send_request(CallToolRequest(params=params), CallToolResult)

    @asynccontextmanager
    async def _session(self, token: str, seconds: float) -> AsyncIterator[Client]:
        """Nothing of the client's own request goes upstream: the token is all it is sent."""
        headers = {"Authorization": f"Bearer {token}"}
        try:
            async with (
                asyncio.timeout(seconds),
                httpx2.AsyncClient(
                    headers=headers, verify=self._tls, timeout=seconds, trust_env=False
                ) as http,
                Client(streamable_http_client(self.url, http_client=http)) as client,
            ):
                yield client
        except Exception as error:  # the SDK's, httpx2's, pydantic's, and groups of them
            raise UpstreamServerError(self._told(error)) from error

    def _told(self, error: BaseException) -> str:
        if isinstance(error, BaseExceptionGroup):
            return self._told(error.exceptions[0])
        if isinstance(error, MCPError):
            return f"MCP error {error.code}: {error.message.partition(chr(10))[0][:300]}"
        return f"The server behind {self.name} gives no usable answer: {type(error).__name__}"
