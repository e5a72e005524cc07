"""Ask a service behind a tunnel whether it is there."""

import asyncio
import re

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


async def probe(port: int, path: str, host: str, seconds: float) -> int | None:
    """The HTTP status of a GET through `port`; None when nothing sensible came back within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return await _ask(port, path, host)
    except (OSError, TimeoutError):
        return None


async def _ask(port: int, path: str, host: str) -> int | None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        found = _STATUS.match(await reader.readline())
        return int(found[1]) if found else None
    finally:
        writer.close()
