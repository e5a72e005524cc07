"""Change parts of JSON texts and of server-sent events, and leave every other byte as it is."""

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Span:
    """A value in a text, from `start` up to `end`."""

    start: int
    end: int


def members(text: str, at: int) -> list[tuple[str, Span]]:
    """The names and values of the object that begins at `at`; raises ValueError where there is none."""
    found = []
    for start in _items(text, at, "{", "}"):
        name, end = _DECODER.raw_decode(text, start)
        value = _skip(text, _expect(text, _skip(text, end), ":"))
        found.append((name, Span(value, _end(text, value))))
    return found


def elements(text: str, at: int) -> list[Span]:
    """The elements of the array that begins at `at`; raises ValueError where there is none."""
    return [Span(start, _end(text, start)) for start in _items(text, at, "[", "]")]


def _items(text: str, at: int, opening: str, closing: str) -> Iterator[int]:
    """Where each item begins."""
    at = _skip(text, _expect(text, _skip(text, at), opening))
    if text[at] == closing:
        return
    while True:
        yield at
        after = _end(text, at)
        if opening == "{":
            after = _end(text, _skip(text, _expect(text, _skip(text, after), ":")))
        at = _skip(text, after)
        if text[at] == closing:
            return
        at = _skip(text, _expect(text, at, ","))


def _end(text: str, at: int) -> int:
    return _DECODER.raw_decode(text, at)[1]


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _expect(text: str, at: int, mark: str) -> int:
    if text[at] != mark:
        raise ValueError(f"no {mark} at {at}")
    return at + 1


# Not `\r\r`: an event ends where every reader sees it end, also those that split lines at `\n` alone.
_END = re.compile(rb"\r\n\r\n|\n\n|\n\r\n")
_LINE = re.compile(rb"(\r\n|\n|\r)")


async def rewrite_events(
    chunks: AsyncIterator[bytes], rewrite: Callable[[bytes], bytes], limit: int, too_long: type[Exception]
) -> AsyncIterator[bytes]:
    """Pass on each event through `rewrite` as soon as it is complete; an empty result is left out.

    Raises `too_long` for an event of more than `limit` bytes.
    """
    pending = b""
    async for chunk in chunks:
        # An end may be in two chunks; the bytes before it have been searched already.
        start = max(0, len(pending) - 3)
        pending += chunk
        while end := _END.search(pending, start):
            if event := rewrite(pending[: end.start()]):
                yield event + pending[end.start() : end.end()]
            pending, start = pending[end.end() :], 0
        if len(pending) > limit:
            raise too_long
    if pending and (event := rewrite(pending)):
        yield event


def data_of(event: bytes) -> bytes:
    """The data of an event, its lines joined."""
    lines = _LINE.split(event)[::2]
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines if _is_data(line))


def with_data(event: bytes, data: bytes) -> bytes:
    """The event with other data; its other lines stay as they are."""
    parts = _LINE.split(event)
    ends = [*parts[1::2], b""]
    kept: list[tuple[bytes, bytes]] = []
    for line, end in zip(parts[::2], ends, strict=True):
        if not _is_data(line):
            kept.append((line, end))
        elif data:
            kept += [(b"data: " + part, end or b"\n") for part in data.split(b"\n")]
            data = b""
    return b"".join(line + end for line, end in kept[:-1]) + kept[-1][0]


def _is_data(line: bytes) -> bool:
    return line == b"data" or line.startswith(b"data:")
