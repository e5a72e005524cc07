"""One MCP server made of several: names with a prefix for the client, calls without it for the upstream."""

import asyncio
import logging
import time
from dataclasses import dataclass
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
from registrations import Registered, Registration, find
from upstreams import CredentialRefusedError, UpstreamServer, UpstreamServerError

from workshop.auth import InternalTokens
from workshop.servers.variation.sdk import scope_of
from workshop.servers.variation.service import count_refusal

_LOG = logging.getLogger(__name__)
_SELF = "prefix-gateway"
_Context = ServerRequestContext[Any, Any]


@dataclass(frozen=True)
class Status:
    """One registration as `kubectl get mcpserverregistrations` shows it; `age` is in seconds."""

    name: str
    prefix: str
    target: str
    path: str
    ready: bool
    tools: int
    credential: str
    age: int
    reason: str


class Broker:
    """Lists with the gateway's own credential, calls with the caller's."""

    def __init__(self, registered: Registered, passes: InternalTokens) -> None:
        self._registered, self._passes = registered, passes
        self._servers: dict[str, UpstreamServer] = {}
        self.server: Server[Any] = Server(
            _SELF,
            version="1.0.0",
            on_list_tools=self._list,
            on_call_tool=self._call,
            get_tool_input_schema=_none,
        )

    async def status(self) -> list[Status]:
        """Ask each upstream for its tools, and report what it answers."""
        return list(await asyncio.gather(*map(self._status, self._registered())))

    async def _status(self, one: Registration) -> Status:
        tools, reason = 0, ""
        try:
            tools = len([tool for tool in await self._found(one) if one.has(tool.name)])
        except CredentialRefusedError as error:
            reason = f"It refuses the discovery credential ({error})"
        except UpstreamServerError as error:
            reason = str(error)
        target, path = one.target
        credential = one.user_header or one.credential_variable or ("" if one.command else "pass")
        age = int(time.time() - self._registered.since(one))
        return Status(
            one.shown_name, one.prefix, target, path, not reason, tools, credential or "none", age, reason
        )

    async def _list(self, ctx: _Context, _: PaginatedRequestParams | None) -> ListToolsResult:
        user = _requester(ctx).user
        lists = await asyncio.gather(*(self._tools_of(one, user) for one in self._registered()))
        return ListToolsResult(tools=[tool for tools in lists for tool in tools])

    async def _tools_of(self, one: Registration, user: str) -> list[Tool]:
        try:
            found = await self._found(one)
        except UpstreamServerError as error:
            _LOG.warning("the tools of %s are not listed: %s", one.prefix, error)
            return []
        shown = [tool for tool in found if one.has(tool.name) and one.allows(tool.name, user)]
        return [tool.model_copy(update={"name": one.prefix + tool.name}) for tool in shown]

    async def _found(self, one: Registration) -> list[Tool]:
        return await self._server(one).tools(one.credential or self._pass(_SELF, one))

    async def _call(self, ctx: _Context, params: CallToolRequestParams) -> CallToolResult:
        requester, found = _requester(ctx), find(self._registered(), params.name)
        if found is None or not found[0].allows(found[1], requester.user):
            return _failure("MCP error -32602: Tool not found")
        one, tool = found
        token = (
            requester.credentials.get(one.prefix) if one.user_header else self._pass(requester.subject, one)
        )
        if token is None:
            return _failure(f"Missing required {one.user_header} header")
        try:
            return await self._server(one).call(token, tool, params.arguments)
        except CredentialRefusedError as error:
            count_refusal("upstream_credential")
            return _failure(_refused(one, str(error)))
        except UpstreamServerError as error:
            return _failure(str(error))

    def _pass(self, subject: str, one: Registration) -> str:
        """For a server over HTTP, a token that names the caller; for a process, its credential, if any."""
        return self._passes.issue(subject, one.url) if one.url else one.credential

    def _server(self, one: Registration) -> UpstreamServer:
        known = self._servers.get(one.prefix)
        if known is None or known.one != one:
            known = self._servers[one.prefix] = UpstreamServer(one)
        return known


def _refused(one: Registration, status: str) -> str:
    """Which server refused whose credential, and what the person can do."""
    if not one.user_header:
        return f"{one.shown_name} refuses the gateway's pass ({status}): its operator has to look at both"
    where = f" Get one at {one.credential_help}." if one.credential_help else ""
    return (
        f"{one.shown_name} refuses your credential ({status}), which your client sent in the header "
        f"{one.user_header}.{where} Replace it in your client's configuration, and call again."
    )


def _none(_: str) -> None:
    """No argument is sent as a header; without this function, the SDK lists the tools before each call."""


def _requester(ctx: _Context) -> Requester:
    requester: Requester = scope_of(ctx)[REQUESTER]
    return requester


def _failure(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text)], is_error=True)
