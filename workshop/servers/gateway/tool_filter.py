"""Tool filter and renames of an `MCPToolConfig` (ToolHive, pkg/mcp/tool_filter.go).

The list of tools is filtered and renamed, and its other bytes are not changed; a call of a tool that is not
on it is refused here, because a filter of the list alone would not protect anything. For the same reason, a
list that two parsers could read differently is withheld, and the client gets an error instead.

First in this file: how JSON texts and server-sent events are changed in part, byte for byte.
"""

import json
import logging
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workshop.auth import RefusedError
from workshop.auth.json_rpc import INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, is_id, rpc_error
from workshop.auth.limits import REWRITE_BYTES
from workshop.servers.gateway.config import ToolOverride, ToolRules

_JSON_SPACE = re.compile(r"[ \t\r\n]*")
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
    space = _JSON_SPACE.match(text, at)
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


RawHeaders = list[tuple[bytes, bytes]]
_LOG = logging.getLogger(__name__)
_NAME_HEADER = b"mcp-name"
_MAY_LIST = re.compile(rb"(?i)tool|\\u")  # a key can be written with escapes, and read in another case
_LONE_CR = re.compile(rb"\r(?!\n)")
_SPACE = b"\xef\xbb\xbf \t\r\n\x0b\x0c"


class UnreadableAnswerError(Exception):
    """The remote server's answer is too large, or not of the type that it declares."""


@dataclass(frozen=True)
class Asked:
    """A request as it is sent upstream; `id` identifies it in an answer of the gateway."""

    body: bytes
    headers: RawHeaders
    id: object = None


class ToolFilter:
    """Translates between the tools a client sees and those the server has."""

    def __init__(self, rules: ToolRules) -> None:
        self._allowed = rules.allowed
        self._overrides = rules.overrides
        self._real = {rule.name: real for real, rule in rules.overrides.items() if rule.name}

    def request(self, message: Mapping[str, Any], body: bytes, headers: RawHeaders) -> Asked:
        """The request for the server, a renamed tool under its real name.

        Raises RefusedError with a JSON-RPC error for a tool the client may not see.
        """
        id_ = message.get("id")
        if message.get("method") != "tools/call":
            return Asked(body, headers, id_)
        params = message.get("params", {})
        if any(key != "name" and key.casefold() == "name" for key in params):
            raise rpc_error(INVALID_REQUEST, "Invalid Request", id_=id_)
        shown = params.get("name")
        real = self._real_name(shown) if isinstance(shown, str) else None
        if real is None:
            raise rpc_error(INVALID_PARAMS, "tool not found", id_=id_, status=200)
        if real == shown:
            return Asked(body, headers, id_)
        renamed = {**message, "params": {**params, "name": real}}
        return Asked(json.dumps(renamed).encode(), _renamed_header(headers, str(shown), real), id_)

    async def events(self, chunks: AsyncIterator[bytes], id_: object) -> AsyncIterator[bytes]:
        """An event stream, every list of tools in it filtered; one that cannot be read becomes an error."""

        def rewritten(event: bytes) -> bytes:
            data = data_of(event)
            if _LONE_CR.search(event) and _MAY_LIST.search(event):
                return _error_event(data, id_)  # the end of a line to some readers, a space to others
            try:
                filtered = self.rewrite(data)
            except UnreadableAnswerError:
                return _error_event(data, id_)
            return event if filtered == data else with_data(event, filtered)

        try:
            async for event in rewrite_events(chunks, rewritten, REWRITE_BYTES, UnreadableAnswerError):
                yield event
        except UnreadableAnswerError:
            yield _error_event(b"", id_)

    async def whole(self, chunks: AsyncIterator[bytes], id_: object) -> bytes:
        """Any other answer, filtered.

        Raises RefusedError, with a JSON-RPC error, for a list that cannot be read.
        """
        body = bytearray()
        async for chunk in chunks:
            body += chunk
            if len(body) > REWRITE_BYTES:
                raise withheld(id_)
        try:
            if body.lstrip(_SPACE).startswith((b"{", b"[")):
                return self.rewrite(bytes(body))
        except UnreadableAnswerError as error:
            raise withheld(id_) from error
        # Some clients read events whatever the content type of the answer.
        return b"".join([event async for event in self.events(_once(bytes(body)), id_)])

    def rewrite(self, data: bytes) -> bytes:
        """One JSON-RPC message with its `result.tools` filtered.

        Raises UnreadableAnswerError.
        """
        if not _MAY_LIST.search(data) or not data.lstrip(_SPACE).startswith((b"{", b"[")):
            return data
        try:
            text = data.decode("utf-8")
            if not _lists_tools(json.loads(text, object_pairs_hook=_Pairs)):
                return data
            tools = _only(members(text, _only(members(text, 0), "result").start), "tools")
            shown = [self._shown(text, tool) for tool in elements(text, tools.start)]
        except (ValueError, LookupError, RecursionError) as error:
            raise UnreadableAnswerError from error
        kept = ",".join(tool for tool in shown if tool is not None)
        return f"{text[: tools.start]}[{kept}]{text[tools.end :]}".encode()

    def _real_name(self, shown: str) -> str | None:
        if self._allowed is not None and shown not in self._allowed:
            return None
        if shown in self._real:
            return self._real[shown]
        override = self._overrides.get(shown)
        return None if override and override.name else shown

    def _shown(self, text: str, tool: Span) -> str | None:
        """The text of a tool as the client sees it; None for one it does not see."""
        name = _only(found := members(text, tool.start), "name")
        real = json.loads(text[name.start : name.end])
        if not isinstance(real, str) or not real:
            raise ValueError(real)
        override = self._overrides.get(real)
        shown = override.name if override and override.name else real
        if self._real_name(shown) != real:
            return None
        return _changed(text, tool, found, override) if override else text[tool.start : tool.end]


def withheld(id_: object) -> RefusedError:
    """The client's answer instead of one that cannot be filtered; the log has a line about it."""
    _LOG.warning("the remote server's answer was withheld: it cannot be filtered")
    return rpc_error(INTERNAL_ERROR, "internal error", id_=id_, status=500)


def _changed(text: str, tool: Span, found: list[tuple[str, Span]], override: ToolOverride) -> str:
    changes = {"name": override.name, "description": override.description}
    edits: list[tuple[int, int, str]] = []
    for key, value in changes.items():
        if not value:
            continue
        if any(name.casefold() == key for name, _ in found):
            span = _only(found, key)
            edits.append((span.start, span.end, json.dumps(value)))
        else:
            edits.append((tool.end - 1, tool.end - 1, f",{json.dumps(key)}:{json.dumps(value)}"))
    shown = text[tool.start : tool.end]
    for start, end, new in sorted(edits, reverse=True):
        shown = shown[: start - tool.start] + new + shown[end - tool.start :]
    return shown


class _Pairs(list[tuple[str, Any]]):
    """An object with all its keys, also those that are repeated or spelt in another case."""


def _lists_tools(message: object) -> bool:
    """Whether some client could read a list of tools in it."""
    if isinstance(message, list) and not isinstance(message, _Pairs):
        if any(isinstance(item, _Pairs) and _lists_tools(item) for item in message):
            raise ValueError("a batch")
        return False
    results = [value for key, value in _pairs(message) if key.casefold() == "result"]
    return any(key.casefold() == "tools" for result in results for key, _ in _pairs(result))


def _pairs(value: object) -> list[tuple[str, Any]]:
    return value if isinstance(value, _Pairs) else []


def _only(found: list[tuple[str, Span]], name: str) -> Span:
    """The one member of this name; raises ValueError where it comes twice or in another spelling."""
    spans = [(key, span) for key, span in found if key.casefold() == name]
    if [key for key, _ in spans] != [name]:
        raise ValueError(name)
    return spans[0][1]


def _error_event(data: bytes, id_: object) -> bytes:
    """The event that replaces a withheld one; empty if it would name no request of the client."""
    try:
        answered = json.loads(data).get("id")
    except (ValueError, AttributeError, RecursionError):
        answered = None
    named = answered if is_id(answered) else id_
    error = withheld(named)
    return b"event: message\ndata: " + bytes(error.response.body) if is_id(named) else b""


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _renamed_header(headers: RawHeaders, shown: str, real: str) -> RawHeaders:
    # Only a header that agrees with the body is translated; any other is left for the server to refuse.
    agreeing = {shown.encode("utf-8"), _sentinel(shown)}
    value = (
        real.encode() if real.isascii() and real.isprintable() and real == real.strip() else _sentinel(real)
    )
    return [(name, value if name == _NAME_HEADER and old in agreeing else old) for name, old in headers]


def _sentinel(text: str) -> bytes:
    return b"=?base64?" + b64encode(text.encode()) + b"?="
