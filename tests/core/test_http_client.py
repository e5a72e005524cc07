"""What a server sends without end, or packed a thousand times smaller, is cut off by each client."""

import asyncio
import functools
import gzip
import zlib
from collections.abc import Awaitable, Callable

import httpx2
import pytest

from tests.serving import raw
from workshop.core.http_client import (
    MOST_BYTES,
    UnusableAnswerError,
    bounded_answers,
    bounded_answers_sync,
)

_MEGABYTE = 1024 * 1024
SMALL = b'{"tools": []}'


@functools.cache
def _bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    return b"".join(packer.compress(bytes(_MEGABYTE)) for _ in range(64)) + packer.flush()


async def read(url: str, *, streams: bool = False) -> bytes:
    hooks = {"response": [bounded_answers(streams=streams)]}
    async with httpx2.AsyncClient(trust_env=False, event_hooks=hooks) as http:
        return (await http.get(url)).content


async def read_sync(url: str) -> bytes:
    def get() -> bytes:
        hooks = {"response": [bounded_answers_sync()]}
        with httpx2.Client(trust_env=False, event_hooks=hooks) as http:
            return http.get(url).content

    return await asyncio.to_thread(get)


Read = Callable[[str], Awaitable[bytes]]
READERS = pytest.mark.parametrize("reading", [read, read_sync])


@READERS
@pytest.mark.parametrize("status", ["200 OK", "401 Unauthorized"])
async def test_a_body_without_end_is_cut_off(reading: Read, status: str) -> None:
    head = f"{status}\r\nContent-Type: application/json".encode()
    async with raw(head, b'{"a": "' + b"x" * 65536, endless=True) as url:
        with pytest.raises(UnusableAnswerError, match=r"127\.0\.0\.1:\d+ is too large") as caught:
            await reading(url)
    assert caught.value.why == f"It is over {MOST_BYTES // 1024} KiB; the rest was not read"


@READERS
@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZip "])
async def test_a_gzip_bomb_is_cut_off_while_it_is_unpacked(reading: Read, coding: str) -> None:
    async with raw(f"200 OK\r\nContent-Encoding: {coding}".encode(), _bomb()) as url:
        with pytest.raises(UnusableAnswerError, match="too large"):
            await reading(url)


@READERS
async def test_a_packed_body_is_read_and_its_coding_is_no_longer_announced(reading: Read) -> None:
    packed = gzip.compress(SMALL)
    async with raw(
        f"200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}".encode(), packed
    ) as url:
        assert await reading(url) == SMALL


@READERS
@pytest.mark.parametrize(
    ("coding", "body", "why"),
    [
        ("gzip", b"this is not gzip", "It is not valid gzip data"),
        ("gzip", gzip.compress(SMALL * 99, mtime=0)[:-9], "It ends in the middle of its gzip data"),
        ("br", b"\x8b\x00\x80{}\x03", "It is compressed as `br`, which was not asked for"),
        (
            "gzip, gzip",
            gzip.compress(gzip.compress(SMALL, mtime=0), mtime=0),
            "It is compressed as `gzip, gzip`",
        ),
    ],
)
async def test_a_body_that_cannot_be_unpacked_names_its_server(
    reading: Read, coding: str, body: bytes, why: str
) -> None:
    async with raw(f"200 OK\r\nContent-Encoding: {coding}".encode(), body) as url:
        with pytest.raises(UnusableAnswerError, match=r"127\.0\.0\.1:\d+ cannot be read") as caught:
            await reading(url)
    assert caught.value.why.startswith(why)


async def test_an_event_stream_may_be_longer_where_its_reader_bounds_each_event() -> None:
    event = b"data: " + b"x" * 65536 + b"\n\n"
    whole = event * (MOST_BYTES // len(event) + 2)
    async with raw(b"200 OK\r\nContent-Type: text/event-stream", whole) as url:
        assert await read(url, streams=True) == whole
        with pytest.raises(UnusableAnswerError):
            await read(url)


async def test_a_refusal_is_bounded_even_if_it_calls_itself_an_event_stream() -> None:
    async with raw(b"401 No\r\nContent-Type: text/event-stream", b"x" * 65536, endless=True) as url:
        with pytest.raises(UnusableAnswerError):
            await read(url, streams=True)
