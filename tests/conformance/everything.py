"""A server with every fixture the conformance suite asks for: `python -m tests.conformance.everything PORT`.

The suite's scenarios name what they need; a scenario's description is the specification of its fixture.
"""

import sys

import uvicorn
from mcp.server.mcpserver import MCPServer

from tests.conformance import asking, asking_by_result, content, tools
from tests.conformance.events import Events

RETRY_MILLISECONDS = 100


def create_server() -> MCPServer:
    server = MCPServer("everything", version="1.0.0", tools=[tools.json_schema_tool()])
    for tool in (*tools.TOOLS, *asking.TOOLS, *asking_by_result.TOOLS):
        server.add_tool(tool, structured_output=False)
    for prompt in (*content.PROMPTS, asking_by_result.test_input_required_result_prompt):
        server.prompt()(prompt)
    server.completion()(content.complete)  # type: ignore[no-untyped-call]  # so in the SDK
    content.add_resources(server)
    content.add_older_methods(server)
    return server


if __name__ == "__main__":
    app = create_server().streamable_http_app(event_store=Events(), retry_interval=RETRY_MILLISECONDS)
    # h11 strips white space around a header's value, as HTTP asks; httptools does not.
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), http="h11")
