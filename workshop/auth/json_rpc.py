"""One JSON-RPC message a request, and only one way to read it (ToolHive, pkg/mcp/message.go).

A batch, a key that comes twice or in two spellings, or an id that JSON numbers cannot carry exactly may mean
one thing to us and another to the server: it goes no further.
"""

import json
import math
from codecs import BOM_UTF8
from collections.abc import Mapping
from typing import Any, NoReturn

from starlette.types import Message, Receive

from workshop.auth.http import RefusedError, private_json, refused
from workshop.auth.limits import RELAY_BYTES, BodyTooLargeError, Patience, SlowBodyError, read_body

PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS, INTERNAL_ERROR = -32700, -32600, -32602, -32603
_MEMBERS = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})
_INT64 = 1 << 63


class _AmbiguousError(Exception):
    """Two parsers could read this differently."""


def read_message(body: bytes) -> dict[str, Any]:
    """The request, notification or response in the body of a POST.

    Raises RefusedError, 400 with a JSON-RPC error, for anything else.
    """
    try:
        # Decoded here, for Python would guess UTF-16 from the bytes, and JSON between systems is UTF-8.
        message = _DECODER.decode(body.removeprefix(BOM_UTF8).decode("utf-8"))
    except _AmbiguousError as error:
        raise rpc_error(INVALID_REQUEST, "Invalid Request: a key comes twice") from error
    except (ValueError, RecursionError) as error:
        raise rpc_error(PARSE_ERROR, "Parse error") from error
    if isinstance(message, list):
        raise rpc_error(INVALID_REQUEST, "JSON-RPC batches are not supported")
    if not isinstance(message, dict) or not _is_message(message):
        raise rpc_error(INVALID_REQUEST, "Invalid Request")
    return message


def rpc_error(code: int, message: str, *, id_: object = None, status: int = 400) -> RefusedError:
    """An error as a JSON-RPC answer; without an id where there is none to name, for MCP has no null ids."""
    named = {"id": id_} if is_id(id_) else {}
    body = {"jsonrpc": "2.0", **named, "error": {"code": code, "message": message}}
    return RefusedError(private_json(body, status=status))


def is_id(value: object) -> bool:
    """A text, or a whole number of 64 bits; JSON's other numbers are not the same to every parser."""
    return type(value) is str or (type(value) is int and -_INT64 <= value < _INT64)


def _is_message(message: Mapping[str, Any]) -> bool:
    if message.get("jsonrpc") != "2.0" or ("id" in message and not is_id(message["id"])):
        return False
    if any(key not in _MEMBERS and key.casefold() in _MEMBERS for key in message):
        return False
    if "method" not in message:
        return _is_response(message)
    method, params = message["method"], message.get("params", {})
    outcome = "result" in message or "error" in message
    return isinstance(method, str) and bool(method) and isinstance(params, dict) and not outcome


def _is_response(message: Mapping[str, Any]) -> bool:
    if "params" in message or ("result" in message) == ("error" in message):
        return False
    if "result" in message:
        return "id" in message
    error = message["error"]
    stated = error if isinstance(error, dict) else {}
    return type(stated.get("code")) is int and isinstance(stated.get("message"), str)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    # Some parsers match keys in any case.
    if len(set(map(str.casefold, values))) != len(pairs):
        raise _AmbiguousError
    return values


def _finite(text: str) -> float:
    value = float(text)
    # 1e999 is infinity to Python, and an error to Go's parser.
    if math.isinf(value):
        raise _AmbiguousError
    return value


def _no_json(text: str) -> NoReturn:
    # Python would accept NaN and Infinity, which JSON does not have (RFC 8259 section 6).
    raise ValueError(text)


# Made once: `json.loads` would make one for each message.
_DECODER = json.JSONDecoder(object_pairs_hook=_each_once, parse_float=_finite, parse_constant=_no_json)


async def relayed_body(receive: Receive, seconds: float) -> tuple[bytes, bool]:
    """At most RELAY_BYTES, and whether they had to be waited for.

    Raises RefusedError for more and for a slow body, ClientGoneError.
    """
    try:
        return await read_body(receive, RELAY_BYTES, seconds)
    except BodyTooLargeError as error:
        raise too_large() from error
    except SlowBodyError as error:
        raise refused(408, "request_timeout", "The body did not arrive in time") from error


def too_large() -> RefusedError:
    return refused(413, "content_too_large", f"A request body has at most {RELAY_BYTES} bytes")


async def read_tool_call(method: str, receive: Receive) -> tuple[str, Receive]:
    """The name of the tool, empty for any other request, and a `receive` that begins anew.

    Raises as `relayed_body`, and RefusedError for what is not one JSON-RPC message.
    """
    if method != "POST":
        return "", receive
    body, _ = await relayed_body(receive, Patience.body)
    messages: list[Message] = [{"type": "http.request", "body": body}]

    async def again() -> Message:
        # After the body, the app waits for the client's disconnect.
        return messages.pop() if messages else await receive()

    message = read_message(body)
    called = message.get("method") == "tools/call"
    return str(message.get("params", {}).get("name", "")) if called else "", again
