"""Which tool an HTTP request calls, read before MCP does; the body is there again for whoever comes next."""

from starlette.types import Message, Receive

from workshop.auth.json_rpc import read_message
from workshop.auth.limits import Patience
from workshop.servers.gateway.relayed_body import relayed_body


async def read_tool_call(method: str, receive: Receive) -> tuple[str, Receive]:
    """The name of the tool, empty for any other request, and a `receive` that begins anew.

    Raises as `relayed_body`, and RefusedError for what is not one JSON-RPC message.
    """
    if method != "POST":
        return "", receive
    body = await relayed_body(receive, Patience.body)
    messages: list[Message] = [{"type": "http.request", "body": body}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    message = read_message(body)
    called = message.get("method") == "tools/call"
    return str(message.get("params", {}).get("name", "")) if called else "", again
