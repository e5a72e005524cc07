"""Which tool an HTTP request calls, read before MCP does; the body is there again for whoever comes next."""

import json
from typing import Any

from starlette.types import Message, Receive

from workshop.gateway.limits import Patience
from workshop.gateway.relayed_body import relayed_body


async def read_tool_call(receive: Receive) -> tuple[str, Receive]:
    """The name of the tool, empty for any other request, and a `receive` that begins anew.

    What is no JSON-RPC calls no tool: it is for the server to refuse. Raises as `relayed_body`.
    """
    body = await relayed_body(receive, Patience.body)
    messages: list[Message] = [{"type": "http.request", "body": body}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return _called(body), again


def _called(body: bytes) -> str:
    try:
        message: Any = json.loads(body)
        return str(message["params"]["name"]) if message["method"] == "tools/call" else ""
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
