"""A server that answers every request with the same bytes, also those that no library would send."""

import asyncio
import contextlib
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
