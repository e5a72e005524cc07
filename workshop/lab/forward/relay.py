"""Pass connections on to a port that changes; hold them for a while when there is none."""

import asyncio
import contextlib
import time
from collections.abc import Callable

_CHUNK = 64 * 1024
_RETRY_SECONDS = 0.1
_UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Retry-After: 2\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
)


class Relay:
    """Joins each connection to the local port with one to the tunnel's present port."""

    def __init__(
        self,
        wanted: Callable[[], None],
        problem: Callable[[], str],
        *,
        hold_seconds: float = 20.0,
        linger_seconds: float = 5.0,
    ) -> None:
        self._wanted = wanted
        self._problem = problem
        self._hold_seconds = hold_seconds
        # A client that has closed the connection looks like one that has only finished sending.
        self._linger_seconds = linger_seconds
        self._port: int | None = None
        self._open = asyncio.Event()
        # The event loop keeps only weak references to its tasks.
        self._serving: set[asyncio.Task[None] | None] = set()
        self.heard = 0.0  # when the other side last sent something

    def use(self, port: int | None) -> None:
        """Pass connections on to `port` from now on; with None, hold them."""
        self._port = port
        if port is None:
            self._open.clear()
        else:
            self._open.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; answer 503 with the reason if there is no tunnel in time."""
        self._serving.add(asyncio.current_task())
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
        except (OSError, asyncio.CancelledError):
            pass  # one side disconnected, or we stop: asyncio would log a cancelled connection as an error
        finally:
            writer.close()
            self._serving.discard(asyncio.current_task())

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        deadline = time.monotonic() + self._hold_seconds
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._open.wait(), left)
            if self._port is None:
                continue
            try:
                return await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:  # kubectl has just ended, and its supervisor has not noticed yet
                await asyncio.sleep(_RETRY_SECONDS)
        return None

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        back: asyncio.StreamReader,
        forth: asyncio.StreamWriter,
    ) -> None:
        """Copy both ways until the service ends, or the client does and no answer follows."""
        sending = asyncio.create_task(self._copy(reader, forth))
        answering = asyncio.create_task(self._copy(back, writer, heard=True))
        try:
            await asyncio.wait({sending, answering}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done() or sending.exception():
                return
            forth.write_eof()
            answering.cancel()
            with contextlib.suppress(TimeoutError):
                await self._copy(back, writer, heard=True, patience=self._linger_seconds)
        finally:
            sending.cancel()
            answering.cancel()
            await asyncio.gather(sending, answering, return_exceptions=True)

    async def _copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        heard: bool = False,
        patience: float | None = None,
    ) -> None:
        while data := await asyncio.wait_for(reader.read(_CHUNK), patience):
            if heard:
                self.heard = time.monotonic()
            writer.write(data)
            await writer.drain()

    async def _refuse(self, writer: asyncio.StreamWriter) -> None:
        text = f"The forward to the cluster is not up: {self._problem() or 'still connecting'}\n".encode()
        writer.write(_UNAVAILABLE % (len(text), text))
        await writer.drain()
