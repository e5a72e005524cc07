"""The endpoint `/mcp` of the practice GitHub and its variants, for the user a token belongs to.

Path and headers select the tools as at GitHub's remote MCP server. Source: github/github-mcp-server,
docs/remote-server.md, "Optional Headers" and "URL Path Parameters".
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup, TaskStatus
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from workshop.servers.practice.state import TOOL_REQUEST, PracticeState, ToolRequest
from workshop.servers.practice.tokens import Caller

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

_METADATA = "/.well-known/oauth-protected-resource"
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

    _tasks: TaskGroup

    def __init__(self, state: PracticeState) -> None:
        self._state = state
        self._server: ASGIApp | None = None
        self._loading = anyio.Lock()

    def routes(self) -> list[Route]:
        return [
            Route("/mcp{rest:path}", self),
            Route(f"{_METADATA}{{rest:path}}", self.metadata, methods=["GET"]),
        ]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve MCP while this context is open."""
        async with anyio.create_task_group() as self._tasks:
            # A pod has a fraction of a processor, and a class that waits for it.
            if self._state.config.service_host:
                await self._loaded()
            yield
            self._tasks.cancel_scope.cancel()

    async def _loaded(self) -> ASGIApp:
        """The SDK's server; the first request loads it, which takes longer than all the rest of a start."""
        async with self._loading:
            if self._server is None:
                self._server = await self._tasks.start(self._serve)
            return self._server

    async def _serve(self, *, task_status: TaskStatus[ASGIApp]) -> None:
        # In a thread, because other requests must be answered meanwhile.
        server = await anyio.to_thread.run_sync(_load, self._state.config.service_host)
        async with server.session_manager.run():
            task_status.started(server.session_manager.asgi_app)
            await anyio.sleep_forever()

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
            url = self._state.config.url
            request = ToolRequest(caller, self._state.catalog, url, selection.includes)
            server = await self._loaded()
            await server({**scope, TOOL_REQUEST: request}, receive, send)

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


def _load(service_host: str) -> "MCPServer":
    from workshop.servers.practice.mcp_server import create_server

    return create_server(service_host)
