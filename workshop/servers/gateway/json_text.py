"""Where the parts of a JSON text stand in it, so that one can be changed and the rest left as it is."""

import json
import re
from collections.abc import Iterator
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
