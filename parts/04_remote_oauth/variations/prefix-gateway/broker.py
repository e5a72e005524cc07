"""One MCP server made of several: names with a prefix for the client, calls without it for the upstream."""

import asyncio
import logging
from typing import Any

from gate import REQUESTER, Requester
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)
from registrations import Registration, find

from workshop.auth import InternalTokens
from workshop.servers.variation.sdk import UpstreamServer, UpstreamServerError, scope_of

_LOG = logging.getLogger(__name__)
_SELF = "prefix-gateway"
_Context = ServerRequestContext[Any, Any]


class Broker:
    """Lists with the gateway's own credential, calls with the caller's."""

    def __init__(self, registered: tuple[Registration, ...], passes: InternalTokens) -> None:
        self._registered, self._passes = registered, passes
        self._servers = {one.prefix: UpstreamServer(one.url, one.prefix) for one in registered}
        self.server: Server[Any] = Server(
            _SELF,
            version="1.0.0",
            on_list_tools=self._list,
            on_call_tool=self._call,
            get_tool_input_schema=_none,
        )

    async def _list(self, ctx: _Context, _: PaginatedRequestParams | None) -> ListToolsResult:
        user = _requester(ctx).user
        lists = await asyncio.gather(*(self._tools_of(one, user) for one in self._registered))
        return ListToolsResult(tools=[tool for tools in lists for tool in tools])

    async def _tools_of(self, one: Registration, user: str) -> list[Tool]:
        token = one.credential or self._passes.issue(_SELF, one.url)
        try:
            found = await self._servers[one.prefix].tools(token)
        except UpstreamServerError as error:
            _LOG.warning("the tools of %s are not listed: %s", one.prefix, error)
            return []
        shown = [tool for tool in found if one.has(tool.name) and one.allows(tool.name, user)]
        return [tool.model_copy(update={"name": one.prefix + tool.name}) for tool in shown]

    async def _call(self, ctx: _Context, params: CallToolRequestParams) -> CallToolResult:
        requester, found = _requester(ctx), find(self._registered, params.name)
        if found is None or not found[0].allows(found[1], requester.user):
            return _failure("MCP error -32602: Tool not found")
        one, tool = found
        token = (
            requester.credentials.get(one.prefix)
            if one.user_header
            else self._passes.issue(requester.subject, one.url)
        )
        if token is None:
            return _failure(f"Missing required {one.user_header} header")
        try:
            return await self._servers[one.prefix].call(token, tool, params.arguments)
        except UpstreamServerError as error:
            return _failure(str(error))


def _none(_: str) -> None:
    """No argument of ours travels in a header; without this, each call would list the tools first."""


def _requester(ctx: _Context) -> Requester:
    requester: Requester = scope_of(ctx)[REQUESTER]
    return requester


def _failure(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text)], is_error=True)
