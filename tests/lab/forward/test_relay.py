"""Connections end with either side, are never forgotten half-way, and none is kept for nobody."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator

import pytest

from tests.lab.forward.conftest import until
from workshop.lab.forward.supervisor import Relay

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def serving(
    answer: bytes, *, closes: bool = False, linger_seconds: float = 5.0
) -> AsyncIterator[tuple[Relay, int]]:
    """A relay, its port, and behind it a service that answers once and, if it does not close, never ends."""
    release = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        if not closes:
            await release.wait()  # deaf to the end of what it reads, as kubectl may leave it
        writer.close()

    service = await asyncio.start_server(serve, "127.0.0.1", 0)
    passing = Relay(lambda: None, lambda: "no tunnel", linger_seconds=linger_seconds)
    passing.use(service.sockets[0].getsockname()[1])
    listener = await asyncio.start_server(passing.serve, "127.0.0.1", 0)
    try:
        yield passing, listener.sockets[0].getsockname()[1]
    finally:
        release.set()
        listener.close()
        service.close()


def connections(passing: Relay) -> int:
    """How many connections are being served or held."""
    return len(passing._serving)


async def ask(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"question\n")
    return reader, writer


async def test_the_end_of_the_service_is_the_end_of_the_connection() -> None:
    async with serving(b"answer", closes=True) as (passing, port):
        reader, writer = await ask(port)
        assert await reader.read() == b"answer"
        writer.close()
        await until(lambda: connections(passing) == 0)


async def test_a_connection_whose_client_has_gone_is_not_kept() -> None:
    async with serving(b"answer", linger_seconds=0.05) as (passing, port):
        for _ in range(20):
            reader, writer = await ask(port)
            assert await reader.readexactly(6) == b"answer"
            writer.close()
        await until(lambda: connections(passing) == 0)


async def test_no_connection_is_forgotten_while_it_is_waiting(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(b"answer") as (passing, port):
        for _ in range(20):
            reader, writer = await ask(port)
            await reader.readexactly(6)
            writer.close()
        await until(lambda: connections(passing) == 20)
        gc.collect()
        await asyncio.sleep(0)
        assert connections(passing) == 20
        assert "destroyed" not in caplog.text
