"""Pass the caller of a request from the guard, which has verified it, to the MCP SDK's server."""

from collections.abc import Mapping, Sequence
from typing import Any

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context
from mcp_types import Tool, ToolAnnotations
from starlette.types import ASGIApp, Receive, Scope, Send

from workshop.auth import Operation, caller_of


class CallerForSdk:
    """Passes the caller to the SDK, which binds each session to one; the token stays with the guard."""

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
        raise TypeError("the caller is known only from an HTTP request")
    scope: Scope = inner.request.scope
    return scope


def tool_of(operation: Operation, name: str) -> Tool:
    """An operation as a tool of this name; its annotations follow from its method (RFC 9110 section 9.2)."""
    reads = operation.method == "GET"
    return Tool(
        name=name,
        description=operation.description,
        input_schema=dict(operation.input_schema),
        annotations=ToolAnnotations(
            read_only_hint=reads,
            # MCP gives these two a meaning only for tools that are not read-only.
            destructive_hint=None if reads else operation.method != "POST",
            idempotent_hint=None if reads else operation.method in {"PUT", "DELETE"},
            open_world_hint=True,
        ),
    )
