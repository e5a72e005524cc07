"""Serve on loopback, inside the event loop of a test: an ASGI application, or bytes that no library sends."""

import asyncio
import contextlib
import socket
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


@contextlib.asynccontextmanager
async def raw(head: bytes, body: bytes = b"", *, endless: bool = False) -> AsyncIterator[str]:
    """Serve on loopback: `head` is the status and the headers, `body` is repeated for ever if `endless`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 " + head + b"\r\nConnection: close\r\n\r\n")
            while True:
                writer.write(body)
                await writer.drain()
                if not endless:
                    break
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def answer_to_two_lengths(port: int, path: str) -> bytes:
    """What a server sends for a POST with both lengths (RFC 9112 section 6.3), hiding another request."""
    smuggled = f"GET /health HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"
    head = f"POST {path} HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 5\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}".encode())
        return connection.makefile("rb").read()
