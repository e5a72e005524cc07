"""The MCP server of the practice GitHub: all its tools, of which each request selects some.

Only this module and the tools import the MCP SDK, which takes most of a start to load.
"""

from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from workshop.servers.practice.state import TOOL_REQUEST, ToolRequest
from workshop.servers.practice.tools import issues, repositories, searching

ALL_TOOLS = (*searching.TOOLS, *repositories.TOOLS, *issues.TOOLS)
_TOOLS = {known.tool.name: known for known in ALL_TOOLS}


def create_server(service_host: str) -> MCPServer:
    """The SDK's server without sessions; it also answers to the name `service_host`, if that is not empty."""
    server = MCPServer(
        "practice-github",
        title="Practice GitHub",
        version="1.0.0",
        instructions="A stand-in for GitHub's MCP server with practice users, not github.com.",
        tools=[known.tool for known in ALL_TOOLS],
        middleware=[only_selected],
        log_level="WARNING",
    )
    server.streamable_http_app(
        # Each request carries its own token, so no session has to be bound to a user.
        stateless_http=True,
        transport_security=_own_hosts(service_host),
    )
    return server


async def only_selected(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Tools that were not selected are neither listed nor callable."""
    request: ToolRequest = ctx.request.scope[TOOL_REQUEST]  # type: ignore[union-attr]
    # A client may call a tool that was not listed.
    if ctx.method == "tools/call":
        name = (ctx.params or {}).get("name")
        if not _selected(request, name):
            raise MCPError(INVALID_PARAMS, f"unknown tool {name!r}")
    result = await call_next(ctx)
    if ctx.method == "tools/list" and isinstance(result, dict):
        return {**result, "tools": [tool for tool in result["tools"] if _selected(request, tool["name"])]}
    return result


def _own_hosts(service_host: str) -> TransportSecuritySettings:
    hosts = ["127.0.0.1:*", "localhost:*", "[::1]:*"]
    origins = [f"http://{host}" for host in hosts]  # no browser uses the service's name
    # Without the service's name, the SDK would answer 421 to the other pods.
    return TransportSecuritySettings(
        allowed_hosts=[*hosts, *([f"{service_host}:*"] if service_host else [])], allowed_origins=origins
    )


def _selected(request: ToolRequest, name: object) -> bool:
    known = _TOOLS.get(name) if isinstance(name, str) else None
    return known is not None and request.includes(known.toolset, writes=known.writes)
