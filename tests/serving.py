"""Serve an ASGI application on loopback, inside the event loop of a test."""

import contextlib
from collections.abc import AsyncIterator
from typing import Literal

import uvicorn
from starlette.types import ASGIApp

from workshop.core.ports import bind_loopback, free_port


@contextlib.asynccontextmanager
async def serve(
    app: ASGIApp, port: int = 0, *, lifespan: Literal["on", "auto"] = "auto"
) -> AsyncIterator[str]:
    """The server's URL, once it is ready; it takes a free port unless one is given.

    With `lifespan="on"`, an application that fails while it starts fails the test.
    """
    port = port or free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, lifespan=lifespan, timeout_graceful_shutdown=1)
    )
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    sockets = bind_loopback(port)
    await server.startup(sockets=sockets)
    try:
        yield f"http://localhost:{port}"
    finally:
        server.should_exit = True
        await server.shutdown(sockets=sockets)
