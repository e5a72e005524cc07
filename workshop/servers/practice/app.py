"""Put the parts of the practice GitHub together."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from workshop.servers.practice import pages
from workshop.servers.practice.authorize import AuthorizePage
from workshop.servers.practice.config import PracticeConfig
from workshop.servers.practice.control import Control
from workshop.servers.practice.fault_injection import FaultInjection
from workshop.servers.practice.mcp_endpoint import McpEndpoint
from workshop.servers.practice.rest import Rest
from workshop.servers.practice.state import PracticeState
from workshop.servers.practice.token_endpoint import TokenEndpoint
from workshop.servers.practice.traffic import OwnHost, Recording


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
            Middleware(OwnHost, service_host=config.service_host),
            Middleware(Recording, state=state),
            Middleware(FaultInjection, state=state),
        ],
        exception_handlers={HTTPException: _refusal},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.practice = state
    return app


async def _refusal(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return pages.message(
        "Nothing here", "The practice GitHub has only what the exercises need.", status=status
    )
