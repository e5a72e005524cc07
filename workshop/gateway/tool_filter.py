"""Tool filter and renames of an `MCPToolConfig` (ToolHive, pkg/mcp/tool_filter.go).

The list a client gets is filtered and renamed; a call of a tool that is not on it ends here. A filter on the
list alone would be no protection. For the same reason a request that two parsers could read differently is
refused.
"""

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from workshop.gateway.challenge import RefusedError
from workshop.gateway.config import ToolRules
from workshop.gateway.limits import REWRITE_BYTES
from workshop.gateway.relay_headers import RawHeaders
from workshop.gateway.responses import private_json
from workshop.gateway.sse import rewrite_events

_PARSE_ERROR, _INVALID_REQUEST, _INVALID_PARAMS = -32700, -32600, -32602
_READ_BY_US = ("jsonrpc", "id", "method", "params", "name", "arguments")
_NAME_HEADER = b"mcp-name"


class UnreadableAnswerError(Exception):
    """The remote server's answer is too large, or not what it says it is."""


@dataclass(frozen=True)
class Asked:
    """A request as it goes on upstream."""

    body: bytes
    headers: RawHeaders


class ToolFilter:
    """Translates between the tools a client sees and those the server has."""

    def __init__(self, rules: ToolRules) -> None:
        self._allowed = rules.allowed
        self._overrides = rules.overrides
        self._real = {rule.name: real for real, rule in rules.overrides.items() if rule.name}

    def request(self, body: bytes, headers: RawHeaders) -> Asked:
        """The request for the server, a renamed tool under its real name.

        Raises RefusedError with a JSON-RPC error for a tool the client may not see.
        """
        message = _message(body)
        if message.get("method") != "tools/call":
            return Asked(body, headers)
        params = message.get("params")
        params = params if isinstance(params, dict) else {}
        shown = params.get("name")
        real = self._real_name(shown) if isinstance(shown, str) else None
        if real is None:
            raise _rpc_error(message.get("id"), _INVALID_PARAMS, "tool not found", status=200)
        if real == shown:
            return Asked(body, headers)
        renamed = {**message, "params": {**params, "name": real}}
        return Asked(json.dumps(renamed).encode(), _renamed_header(headers, str(shown), real))

    def answer(self, content_type: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The answer for the client, every list of tools in it filtered; other bytes stay as they are."""
        if content_type == "text/event-stream":
            return rewrite_events(chunks, self.rewrite, REWRITE_BYTES, UnreadableAnswerError)
        return self._whole(chunks)

    async def _whole(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        body = bytearray()
        async for chunk in chunks:
            body += chunk
            if len(body) > REWRITE_BYTES:
                raise UnreadableAnswerError
        yield self.rewrite(bytes(body))

    def rewrite(self, data: bytes) -> bytes:
        """One JSON-RPC message with its `result.tools` filtered."""
        if b'"tools"' not in data:
            return data
        try:
            message = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise UnreadableAnswerError from error
        result = message.get("result") if isinstance(message, dict) else None
        if not isinstance(result, dict) or not isinstance(result.get("tools"), list):
            return data
        tools = [self._shown(tool) for tool in result["tools"] if self._is_shown(tool)]
        # In ASCII: a lone surrogate, which JSON can write and UTF-8 cannot, passes as it came.
        return json.dumps({**message, "result": {**result, "tools": tools}}).encode()

    def _real_name(self, shown: str) -> str | None:
        if self._allowed is not None and shown not in self._allowed:
            return None
        if shown in self._real:
            return self._real[shown]
        override = self._overrides.get(shown)
        return None if override and override.name else shown

    def _is_shown(self, tool: object) -> bool:
        if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
            return False
        real: str = tool["name"]
        override = self._overrides.get(real)
        shown = override.name if override and override.name else real
        return self._real_name(shown) == real

    def _shown(self, tool: dict[str, Any]) -> dict[str, Any]:
        override = self._overrides.get(tool["name"])
        if override is None:
            return tool
        changes = {"name": override.name, "description": override.description}
        return {**tool, **{key: value for key, value in changes.items() if value}}


def _message(body: bytes) -> dict[str, Any]:
    try:
        # Decoded here, for Python would guess UTF-16 from the bytes, and JSON between systems is UTF-8.
        message = json.loads(body.decode("utf-8"), object_pairs_hook=_unambiguous)
    except _AmbiguousError as error:
        raise _rpc_error(None, _INVALID_REQUEST, "Invalid Request: an ambiguous key", status=400) from error
    except (ValueError, RecursionError) as error:
        raise _rpc_error(None, _PARSE_ERROR, "Parse error", status=400) from error
    if not isinstance(message, dict):
        raise _rpc_error(None, _INVALID_REQUEST, "Invalid Request", status=400)
    for level in (message, message.get("params")):
        if isinstance(level, dict) and any(
            key.lower() in _READ_BY_US and key != key.lower() for key in level
        ):
            # Some parsers match keys in any case: they would see another method or tool than we did.
            raise _rpc_error(None, _INVALID_REQUEST, "Invalid Request: an ambiguous key", status=400)
    return message


class _AmbiguousError(Exception):
    """An object has a key twice."""


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise _AmbiguousError
    return values


def _rpc_error(id_: object, code: int, message: str, *, status: int) -> RefusedError:
    known = id_ if isinstance(id_, str | int) else None
    error = {"code": code, "message": message}
    return RefusedError(private_json({"jsonrpc": "2.0", "id": known, "error": error}, status=status))


def _renamed_header(headers: RawHeaders, shown: str, real: str) -> RawHeaders:
    # Only a header that agrees with the body is translated; another one stays, for the server to refuse.
    agreeing = {shown.encode("utf-8"), _sentinel(shown)}
    value = (
        real.encode() if real.isascii() and real.isprintable() and real == real.strip() else _sentinel(real)
    )
    return [(name, value if name == _NAME_HEADER and old in agreeing else old) for name, old in headers]


def _sentinel(text: str) -> bytes:
    return b"=?base64?" + b64encode(text.encode()) + b"?="
