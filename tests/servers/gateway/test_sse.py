"""Events are rewritten wherever the network cuts them, and passed on when whole."""

from collections.abc import AsyncIterator

import pytest

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
