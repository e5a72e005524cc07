"""Serve an ASGI application until told to stop: on both loopback addresses, or in a pod on all."""

import asyncio
import contextlib
import logging
import socket
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from workshop.gathering import GatheringProtocol
from workshop.ports import bind_everywhere, bind_loopback

_LOOK_SECONDS = 2.0


def serve(app: ASGIApp, *, port: int, while_exists: Path, everywhere: bool = False) -> None:
    """Serve `app` on `port` of loopback, or of all addresses, until SIGTERM or the end of `while_exists`.

    A workload whose state directory was removed by hand thereby ends itself.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    config = uvicorn.Config(
        app,
        log_config=None,
        http=GatheringProtocol,
        ws="none",
        proxy_headers=False,  # nothing stands before us whose word counts for where a request came from
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=64 * 1024,
    )
    server = uvicorn.Server(config)
    sockets = bind_everywhere(port) if everywhere else bind_loopback(port)
    asyncio.run(_serve(server, sockets, while_exists))


async def _serve(server: uvicorn.Server, sockets: list[socket.socket], path: Path) -> None:
    watch = asyncio.create_task(_stop_when_gone(server, path))
    try:
        await server.serve(sockets=sockets)
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


async def _stop_when_gone(server: uvicorn.Server, path: Path) -> None:
    while path.exists():  # noqa: ASYNC110, ASYNC240 - one stat now and then; no event tells of an unlink
        await asyncio.sleep(_LOOK_SECONDS)
    server.should_exit = True
