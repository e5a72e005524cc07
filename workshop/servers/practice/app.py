"""The practice GitHub as one ASGI application, and its check of the Host header."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from workshop.core.serving import SERVER_ERROR
from workshop.servers.practice import web
from workshop.servers.practice.config import PracticeConfig
from workshop.servers.practice.control import Control
from workshop.servers.practice.faults import FaultInjection
from workshop.servers.practice.mcp_endpoint import McpEndpoint
from workshop.servers.practice.oauth import AuthorizePage, TokenEndpoint
from workshop.servers.practice.recorder import Recording
from workshop.servers.practice.rest import Rest
from workshop.servers.practice.state import PracticeState

_LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}


def create_app(config: PracticeConfig, clock: Callable[[], float] = time.time) -> Starlette:
    """The practice GitHub; MCP works while its lifespan runs. `clock` gives seconds since the epoch."""
    state = PracticeState.fresh(config, clock)
    mcp = McpEndpoint(state)
    parts = (Control(state), AuthorizePage(state), TokenEndpoint(state), Rest(state), mcp)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with mcp.running():
            yield

    app = Starlette(
        routes=[route for part in parts for route in part.routes()],
        middleware=[
            Middleware(OwnHost, hosts=config.hosts),
            Middleware(Recording, recorder=state.recorder, verify=state.tokens.verify),
            Middleware(FaultInjection, faults=state.faults),
        ],
        exception_handlers={HTTPException: _refusal, Exception: _failure},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.practice = state
    return app


async def _refusal(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return web.message(
        "Not found", "The practice GitHub has only the pages that the exercises need.", status=status
    )


async def _failure(_: Request, __: Exception) -> Response:
    error, description = SERVER_ERROR
    body = {"error": error, "error_description": description}
    return JSONResponse(body, 500, {"connection": "close"})


class OwnHost:
    """Answers 421 to a Host that is not loopback, so that DNS rebinding does not work.

    It also accepts `hosts`: the name by which other pods reach this one, or the public names.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] = frozenset()) -> None:
        self._app = app
        self._hosts = _LOOPBACK | hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._is_own(Headers(scope=scope).get("host", "")):
            await self._app(scope, receive, send)
            return
        refusal = PlainTextResponse("The practice GitHub answers only as localhost.\n", status_code=421)
        await refusal(scope, receive, send)

    def _is_own(self, host: str) -> bool:
        try:
            return urlsplit(f"//{host}").hostname in self._hosts
        except ValueError:
            return False
