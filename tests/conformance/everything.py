"""A server with every fixture the conformance suite asks for: `python -m tests.conformance.everything PORT`.

The suite's scenarios name what they need; a scenario's description is the specification of its fixture.
Its memory of sent events lets a client take up a stream where it broke off.
"""

import sys

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.streamable_http import EventCallback, EventId, EventMessage, EventStore, StreamId
from mcp.types import JSONRPCMessage

from tests.conformance import asking, content, tools


class Events(EventStore):
    """Keeps all events of all streams in the order they were sent; an event's identifier is its place."""

    def __init__(self) -> None:
        self._sent: list[tuple[StreamId, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: StreamId, message: JSONRPCMessage | None) -> EventId:
        self._sent.append((stream_id, message))
        return str(len(self._sent))

    async def replay_events_after(
        self, last_event_id: EventId, send_callback: EventCallback
    ) -> StreamId | None:
        last = int(last_event_id)
        if not 1 <= last <= len(self._sent):
            return None
        stream, _ = self._sent[last - 1]
        for place, (other, message) in enumerate(self._sent[last:], start=last + 1):
            if other == stream and message is not None:
                await send_callback(EventMessage(message, str(place)))
        return stream


RETRY_MILLISECONDS = 100


def create_server() -> MCPServer:
    server = MCPServer("everything", version="1.0.0", tools=[tools.json_schema_tool()])
    for tool in (*tools.TOOLS, *asking.TOOLS):
        server.add_tool(tool, structured_output=False)
    for prompt in (*content.PROMPTS, asking.test_input_required_result_prompt):
        server.prompt()(prompt)
    server.completion()(content.complete)  # type: ignore[no-untyped-call]  # so in the SDK
    content.add_resources(server)
    content.add_older_methods(server)
    return server


if __name__ == "__main__":
    app = create_server().streamable_http_app(event_store=Events(), retry_interval=RETRY_MILLISECONDS)
    # h11 strips white space around a header's value, as HTTP asks; httptools does not.
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), http="h11")
