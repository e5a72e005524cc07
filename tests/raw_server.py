"""Bytes that no library would send: a server that answers with them, and a request to a server of ours."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator


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
