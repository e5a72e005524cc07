"""Pass connections on to a port that comes and goes; hold them for a while when it is gone."""

import asyncio
import contextlib
import time
from collections.abc import Callable

_CHUNK = 64 * 1024
_HOLD_SECONDS = 10.0
_RETRY_SECONDS = 0.1
_UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Retry-After: 2\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
)


class Relay:
    """Joins each connection made to us with one to the tunnel's port of the moment."""

    def __init__(self, wanted: Callable[[], None], problem: Callable[[], str]) -> None:
        self._wanted = wanted
        self._problem = problem
        self._port: int | None = None
        self._open = asyncio.Event()
        self.heard = 0.0  # when the other side sent something last

    def use(self, port: int | None) -> None:
        """From now on pass connections on to `port`; None holds them."""
        self._port = port
        if port is None:
            self._open.clear()
        else:
            self._open.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end; a 503 that says why when there is no tunnel in time."""
        self._wanted()
        try:
            through = await self._connect()
            if through is None:
                await self._refuse(writer)
                return
            try:
                await self._join(reader, writer, *through)
            finally:
                through[1].close()
        except OSError:
            pass  # either side went away: so does the other
        finally:
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        deadline = time.monotonic() + _HOLD_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._open.wait(), left)
            if self._port is None:
                continue
            try:
                return await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:  # kubectl has just ended, and its supervisor does not know yet
                await asyncio.sleep(_RETRY_SECONDS)
        return None

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        back: asyncio.StreamReader,
        forth: asyncio.StreamWriter,
    ) -> None:
        """Copy both ways until both sides have ended, or one breaks."""
        ways = [
            asyncio.create_task(self._copy(reader, forth)),
            asyncio.create_task(self._copy(back, writer, heard=True)),
        ]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_EXCEPTION)
            for way in done:
                way.result()
        finally:
            for way in ways:
                way.cancel()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, heard: bool = False
    ) -> None:
        while data := await reader.read(_CHUNK):
            if heard:
                self.heard = time.monotonic()
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async def _refuse(self, writer: asyncio.StreamWriter) -> None:
        text = f"The forward to the cluster is not up: {self._problem() or 'still connecting'}\n".encode()
        writer.write(_UNAVAILABLE % (len(text), text))
        await writer.drain()
