"""Who calls, between the guard that knows it and the SDK's server that does not."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context
from mcp_types import CallToolRequest, CallToolRequestParams, CallToolResult, Tool, ToolAnnotations
from starlette.types import ASGIApp, Receive, Scope, Send

from workshop.auth import Operation, caller_of
from workshop.core.http_client import open_client


class CallerForSdk:
    """Tells the SDK who calls, so a session stays with whoever began it; the token stays with the guard."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = AuthContextMiddleware(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            caller = caller_of(scope)
            user = sdk_user(caller.subject, caller.client_id, caller.scopes, caller.claims)
            scope = {**scope, "user": user}
        await self._app(scope, receive, send)


def sdk_user(
    subject: str,
    client_id: str | None = None,
    scopes: Sequence[str] = (),
    claims: Mapping[str, Any] | None = None,
) -> AuthenticatedUser:
    """A verified caller as the SDK's own check of a token would leave it in the scope, without the token."""
    known = AccessToken(
        token="", client_id=client_id or "", scopes=list(scopes), subject=subject, claims=dict(claims or {})
    )
    return AuthenticatedUser(known)


def scope_of(context: Context | ServerRequestContext[Any, Any]) -> Scope:
    """The scope of the HTTP request that a tool answers; raises TypeError without one."""
    inner = context.request_context if isinstance(context, Context) else context
    if inner.request is None:
        raise TypeError("without an HTTP request nobody knows who is asking")
    scope: Scope = inner.request.scope
    return scope


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
                open_client(headers=headers, timeout=seconds, streams=True) as http,
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


def tool_of(operation: Operation, name: str) -> Tool:
    """An operation as a tool of this name; what it may change is what HTTP says of its method (RFC 9110)."""
    reads = operation.method == "GET"
    return Tool(
        name=name,
        description=operation.description,
        input_schema=dict(operation.input_schema),
        annotations=ToolAnnotations(
            read_only_hint=reads,
            destructive_hint=None if reads else operation.method != "POST",
            idempotent_hint=None if reads else operation.method in {"PUT", "DELETE"},
            open_world_hint=True,
        ),
    )
