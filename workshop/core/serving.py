"""Serve an ASGI application until SIGTERM: on both loopback addresses, or in a pod on all addresses.

A response leaves in one write. uvicorn writes status line, body and end separately; on loopback each write
wakes the reader, which is a large part of the cost of a small response.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from workshop.core.crash import run_program
from workshop.core.errors import UsageError
from workshop.core.ports import bind_everywhere, bind_loopback


class CoalescingProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol; everything written in one turn of the event loop leaves together."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(CoalescedTransport(transport, self.loop))


class CoalescedTransport(asyncio.Transport):
    """The part of a transport that uvicorn uses; writes are held until the next turn of the event loop."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.transport = transport
        self._loop = loop
        self._waiting: list[bytes | bytearray | memoryview] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not data:
            return
        if not self._waiting:
            self._loop.call_soon(self.flush)
        self._waiting.append(data)

    def close(self) -> None:
        self.flush()
        self.transport.close()

    def flush(self) -> None:
        """Write everything that is held."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self.transport.write(b"".join(waiting))

    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def pause_reading(self) -> None:
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        self.transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as asyncio declares it
        return self.transport.get_extra_info(name, default)


CreateApp = Callable[[Mapping[str, Any]], ASGIApp]
_POLL_SECONDS = 2.0


def main(create_app: CreateApp, arguments: Sequence[str] | None = None) -> NoReturn:
    """Serve the app that `create_app` builds from the `--config` file, on its `port`; exits the process.

    The exit codes are those of `workshop.core.errors`.
    """
    parser = argparse.ArgumentParser(description="Serve on this machine until SIGTERM.")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="JSON, with a `port`")
    path: Path = parser.parse_args(arguments).config

    def act() -> None:
        config = read_config(path)
        log_to_stderr()  # before the MCP SDK's server does, which would drop our lines
        serve(create_app(config), port=config["port"], while_exists=path)

    sys.exit(run_program(act))


def log_to_stderr() -> None:
    """Log to stderr, each line with its time; a second call changes nothing."""
    # No line shows these, so they need not be looked up.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")


def read_config(path: Path) -> dict[str, Any]:
    """The JSON object in a server's configuration file; raises UsageError for other content or no port."""
    config = read_object(path)
    if type(config.get("port")) is not int:
        raise UsageError(f"The configuration `{path}` has no `port`")
    return config


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a configuration file; raises UsageError if it is not one."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"The configuration `{path}` cannot be read", why=str(error)) from error
    if not isinstance(config, dict):
        raise UsageError(f"The configuration `{path}` is not a JSON object")
    return config


def serve(
    app: ASGIApp,
    *,
    port: int,
    while_exists: Path,
    everywhere: bool = False,
    http: type[asyncio.Protocol] = CoalescingProtocol,
) -> None:
    """Serve `app` on `port` of loopback or of all addresses, until SIGTERM or until `while_exists` is gone.

    A workload therefore stops when its state directory is deleted by hand.
    """
    log_to_stderr()
    config = uvicorn.Config(
        app,
        log_config=None,
        http=http,
        ws="none",
        proxy_headers=False,  # no trusted proxy in front
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
    while path.exists():  # noqa: ASYNC110, ASYNC240 - a cheap stat; no event reports an unlink
        await asyncio.sleep(_POLL_SECONDS)
    server.should_exit = True
