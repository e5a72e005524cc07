"""One MCP server made of several: names with a prefix for the client, calls without it for the upstream."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from gate import VISIT, Visit
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp_types import (
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)
from passes import Passes
from registrations import Registration, find
from starlette.requests import Request

_LOG = logging.getLogger(__name__)
logging.getLogger("mcp.client").setLevel(logging.CRITICAL)  # it logs, with tracebacks, what it then raises
_SELF = "prefix-gateway"
_LIST_SECONDS, _CALL_SECONDS = 5.0, 25.0  # the agent waits 30
_MOST_PAGES = 50
_Context = ServerRequestContext[Any, Request]


class UpstreamError(Exception):
    """An upstream did not do what it was asked; the text is for the caller."""


class Broker:
    """Lists with the gateway's own credential, calls with the caller's.

    A session with an upstream is opened when it is needed, for one caller, and closed behind the answer.
    """

    def __init__(self, registered: tuple[Registration, ...], passes: Passes) -> None:
        self._registered, self._passes = registered, passes
        self._tls: ssl.SSLContext = httpx2.create_ssl_context()
        self.server: Server[Any] = Server(
            _SELF,
            version="1.0.0",
            on_list_tools=self._list,
            on_call_tool=self._call,
            get_tool_input_schema=_none,
        )

    async def _list(self, ctx: _Context, _: PaginatedRequestParams | None) -> ListToolsResult:
        user = _visit(ctx).user
        offers = await asyncio.gather(*(self._offer(one, user) for one in self._registered))
        return ListToolsResult(tools=[tool for offer in offers for tool in offer])

    async def _offer(self, one: Registration, user: str) -> list[Tool]:
        try:
            token = one.credential or self._passes.issue(_SELF, one.url)
            async with self._session(one, token, _LIST_SECONDS) as client:
                found = await _all_tools(client)
        except UpstreamError as error:
            _LOG.warning("the tools of %s are not listed: %s", one.prefix, error)
            return []
        shown = [tool for tool in found if one.has(tool.name) and one.allows(tool.name, user)]
        return [tool.model_copy(update={"name": one.prefix + tool.name}) for tool in shown]

    async def _call(self, ctx: _Context, params: CallToolRequestParams) -> CallToolResult:
        visit, found = _visit(ctx), find(self._registered, params.name)
        if found is None or not found[0].allows(found[1], visit.user):
            return _failure("MCP error -32602: Tool not found")
        one, tool = found
        request = CallToolRequest(params=CallToolRequestParams(name=tool, arguments=params.arguments))
        try:
            async with self._session(one, self._credential(one, visit), _CALL_SECONDS) as client:
                # Not `client.call_tool`: it would list the tools too, in the caller's name.
                return await client.session.send_request(request, CallToolResult)
        except UpstreamError as error:
            return _failure(str(error))

    def _credential(self, one: Registration, visit: Visit) -> str:
        if not one.user_header:
            return self._passes.issue(visit.subject, one.url)
        if one.prefix not in visit.credentials:
            raise UpstreamError(f"Missing required {one.user_header} header")
        return visit.credentials[one.prefix]

    @asynccontextmanager
    async def _session(self, one: Registration, token: str, seconds: float) -> AsyncIterator[Client]:
        """Nothing of the client's own request goes upstream: the token is all it is sent."""
        headers = {"Authorization": f"Bearer {token}"}
        try:
            async with (
                asyncio.timeout(seconds),
                httpx2.AsyncClient(
                    headers=headers, verify=self._tls, timeout=seconds, trust_env=False
                ) as http,
                Client(streamable_http_client(one.url, http_client=http)) as client,
            ):
                yield client
        except Exception as error:  # the SDK's, httpx2's, pydantic's, and groups of them
            raise UpstreamError(_told(error, one)) from error


def _told(error: BaseException, one: Registration) -> str:
    if isinstance(error, BaseExceptionGroup):
        return _told(error.exceptions[0], one)
    if isinstance(error, MCPError):
        return f"MCP error {error.code}: {error.message.partition(chr(10))[0][:300]}"
    return f"The server behind {one.prefix} gives no usable answer: {type(error).__name__}"


async def _all_tools(client: Client) -> list[Tool]:
    found: list[Tool] = []
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        found, cursor = [*found, *page.tools], page.next_cursor
        if not cursor:
            break
    return found


def _none(_: str) -> None:
    """No argument of ours travels in a header; without this, each call would list the tools first."""


def _visit(ctx: _Context) -> Visit:
    if ctx.request is None:
        raise TypeError("without an HTTP request nobody knows who is asking")
    visit: Visit = ctx.request.scope[VISIT]
    return visit


def _failure(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text)], is_error=True)
