"""The MCP server of the practice GitHub: `/mcp` and its variants, for the user a token belongs to.

Path and headers select the tools as at GitHub's remote MCP server. Source: github/github-mcp-server,
docs/remote-server.md, "Optional Headers" and "URL Path Parameters".
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from workshop.servers.practice.state import PracticeState
from workshop.servers.practice.tokens import Caller
from workshop.servers.practice.tools import TOOL_REQUEST, ToolRequest, issues, repositories, searching

_SELECTION: Final = "practice.selection"
_METADATA = "/.well-known/oauth-protected-resource"
ALL_TOOLS = (*searching.TOOLS, *repositories.TOOLS, *issues.TOOLS)
_TOOLS = {known.tool.name: known for known in ALL_TOOLS}
TOOLSETS = ("context", "repos", "issues", "users")
# GitHub reads every other value of `X-MCP-Readonly` as true.
_FALSE = {"", "false", "f", "no", "n", "0", "off"}
_MODIFIERS = {"readonly", "insiders"}


@dataclass(frozen=True)
class Selection:
    """The selected toolsets, and whether tools that write are left out."""

    toolsets: frozenset[str]
    read_only: bool

    def includes(self, toolset: str, *, writes: bool) -> bool:
        return toolset in self.toolsets and not (writes and self.read_only)


def select(rest: str, headers: Mapping[str, str]) -> Selection | None:
    """The selection by the path after `/mcp` and by headers; None if there is no such path.

    Unknown toolsets in the header are ignored; in the path they are an error.
    """
    segments = [segment for segment in rest.split("/") if segment]
    wanted = _from_header(headers.get("x-mcp-toolsets", ""))
    if segments[:1] == ["x"]:
        name = segments[1] if len(segments) > 1 else ""
        if name not in {*TOOLSETS, "all"}:
            return None
        wanted, segments = _expand({name}), segments[2:]
    if not _MODIFIERS.issuperset(segments):
        return None
    flagged = headers.get("x-mcp-readonly", "").strip().lower() not in _FALSE
    return Selection(wanted, read_only=flagged or "readonly" in segments)


def _from_header(text: str) -> frozenset[str]:
    names = {name.strip() for name in text.split(",")} - {""}
    return _expand(names or {"default"})


def _expand(names: set[str]) -> frozenset[str]:
    if names & {"all", "default"}:
        return frozenset(TOOLSETS)
    return frozenset(names & set(TOOLSETS))


class McpEndpoint:
    """Checks the token, then passes the request to the SDK's server, which has no sessions.

    The caller is in the ASGI scope of each request, so calls of two users never mix.
    """

    def __init__(self, state: PracticeState) -> None:
        self._state = state
        self._server = MCPServer(
            "practice-github",
            title="Practice GitHub",
            version="1.0.0",
            instructions="A stand-in for GitHub's MCP server with practice users, not github.com.",
            tools=[known.tool for known in ALL_TOOLS],
            middleware=[only_selected],
            log_level="WARNING",
        )
        self._server.streamable_http_app(
            # Each request carries its own token, so no session has to be bound to a user.
            stateless_http=True,
            transport_security=_own_hosts(state.config.service_host),
        )

    def routes(self) -> list[Route]:
        return [
            Route("/mcp{rest:path}", self),
            Route(f"{_METADATA}{{rest:path}}", self.metadata, methods=["GET"]),
        ]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve MCP while this context is open."""
        async with self._server.session_manager.run():
            yield

    async def metadata(self, request: HTTPConnection) -> Response:
        """Protected-resource metadata (RFC 9728): the authorization server for this endpoint."""
        url = self._state.config.url
        return JSONResponse(
            {
                "resource": f"{url}{request.path_params['rest'] or '/mcp/'}",
                "authorization_servers": [f"{url}/login/oauth"],
                "bearer_methods_supported": ["header"],
                "resource_name": "Practice GitHub MCP Server",
            }
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        rest = scope["path_params"]["rest"]
        # The route also matches `/mcpx`.
        selection = select(rest, connection.headers) if not rest or rest.startswith("/") else None
        caller = self._caller(connection)
        if selection is None:
            await PlainTextResponse("Not Found", status_code=404)(scope, receive, send)
        elif caller is None:
            await self._challenge(connection)(scope, receive, send)
        else:
            request = ToolRequest(caller, self._state.catalog, self._state.config.url)
            inside = {**scope, TOOL_REQUEST: request, _SELECTION: selection}
            await self._server.session_manager.asgi_app(inside, receive, send)

    def _caller(self, connection: HTTPConnection) -> Caller | None:
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        caller = self._state.tokens.verify(token.strip()) if scheme.lower() == "bearer" else None
        return caller and Caller(self._state.acting(connection, caller.login), caller.scopes)

    def _challenge(self, connection: HTTPConnection) -> Response:
        sent = "authorization" in connection.headers
        # GitHub sends an error code without a token, too, unlike RFC 6750 section 3.1.
        error, why = (
            ("invalid_token", "the token is not valid") if sent else ("invalid_request", "no token was sent")
        )
        resource = f"{self._state.config.url}{_METADATA}{connection.scope['path']}"
        value = f'Bearer error="{error}", error_description="{why}", resource_metadata="{resource}"'
        return PlainTextResponse(
            f"unauthorized: {why}\n", status_code=401, headers={"WWW-Authenticate": value}
        )


async def only_selected(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Tools that were not selected are neither listed nor callable."""
    selection: Selection = ctx.request.scope[_SELECTION]  # type: ignore[union-attr]
    # A client may call a tool that was not listed.
    if ctx.method == "tools/call":
        name = (ctx.params or {}).get("name")
        if not _selected(selection, name):
            raise MCPError(INVALID_PARAMS, f"unknown tool {name!r}")
    result = await call_next(ctx)
    if ctx.method == "tools/list" and isinstance(result, dict):
        return {**result, "tools": [tool for tool in result["tools"] if _selected(selection, tool["name"])]}
    return result


def _own_hosts(service_host: str) -> TransportSecuritySettings:
    hosts = ["127.0.0.1:*", "localhost:*", "[::1]:*"]
    origins = [f"http://{host}" for host in hosts]  # no browser uses the service's name
    # Without the service's name, the SDK would answer 421 to the other pods.
    return TransportSecuritySettings(
        allowed_hosts=[*hosts, *([f"{service_host}:*"] if service_host else [])], allowed_origins=origins
    )


def _selected(selection: Selection, name: object) -> bool:
    known = _TOOLS.get(name) if isinstance(name, str) else None
    return known is not None and selection.includes(known.toolset, writes=known.writes)
