"""Events are rewritten wherever the network cuts them, passed on when whole, and sent in few writes."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from workshop.servers.gateway import http_protocol
from workshop.servers.gateway.tool_filter import data_of, rewrite_events, with_data

STREAM = (
    b": hello\n\nid: 1\r\ndata: a\r\ndata: b\r\n\r\n"
    b"data:c\rid: 2\r\rdata: d\n\ndata: keep\n\ndata: drop\n\ndata: last"
)


class TooLongError(Exception):
    """The event is longer than the bound."""


async def pieces(stream: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(stream), size):
        yield stream[at : at + size]


def shout(event: bytes) -> bytes:
    data = data_of(event)
    return {b"keep": event, b"drop": b""}.get(data, with_data(event, data.upper()))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 1000])
async def test_an_event_is_rewritten_wherever_it_is_cut(size: int) -> None:
    events = [event async for event in rewrite_events(pieces(STREAM, size), shout, 100, TooLongError)]
    assert events == [
        b": hello\n\n",
        b"id: 1\r\ndata: A\r\ndata: B\r\n\r\n",
        b"data: C\rdata: D\rid: 2\r\n\n",
        b"data: keep\n\n",
        b"data: LAST",
    ]


async def test_an_event_that_never_ends_is_given_up() -> None:
    with pytest.raises(TooLongError):
        async for _ in rewrite_events(pieces(b"data: " + b"x" * 1000, 10), shout, 100, TooLongError):
            pass


class Socket(asyncio.Transport):
    """Writes down what leaves together."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: asyncio.Queue[bytes] = asyncio.Queue()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.put_nowait(bytes(data))

    async def next(self) -> bytes:
        return await asyncio.wait_for(self.writes.get(), 60)


async def test_the_head_of_a_stream_leaves_with_its_first_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "_HEAD_SECONDS", 3600)
    socket = Socket()
    transport = http_protocol.PatientTransport(socket, asyncio.get_running_loop())
    for number in (b"1", b"2"):
        transport.write(b"head" + number)
        await asyncio.sleep(0)
        transport.write(b"event" + number)
        assert await socket.next() == b"head" + number + b"event" + number
        transport.write(b"end" + number)
        transport.response_ended()
        assert socket.writes.get_nowait() == b"end" + number
        await asyncio.sleep(0)  # the next request takes a turn of the event loop at least


async def test_a_head_without_an_event_and_a_100_leave_by_themselves() -> None:
    socket = Socket()
    transport = http_protocol.PatientTransport(socket, asyncio.get_running_loop())
    transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert await socket.next() == b"HTTP/1.1 100 Continue\r\n\r\n"
    transport.write(b"head")
    assert await socket.next() == b"head"
