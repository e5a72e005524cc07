"""Exercise 3.2: what the proxy adds between an agent and a server."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from workshop.agent import Toolbox, ToolResult, ToolSpec


class Proxy:
    """A server's tools as the `spec` of an `MCPToolConfig` shows them."""

    def __init__(self, server: Toolbox, spec: Mapping[str, Any]) -> None:
        self.server = server
        self.filter = spec["toolsFilter"]  # the names that agents see
        self.override = spec["toolsOverride"]  # by the server's name: another `name` or `description`

    async def list_tools(self) -> list[ToolSpec]:
        """The tools that an agent sees."""
        # ↓ Your turn: `replace` makes a changed copy of a `ToolSpec`.
        return await self.server.list_tools()
        # ↑

    async def call_tool(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """The result of a tool that an agent calls by the name it sees."""
        # ↓ Your turn: `ToolResult("the reason", is_error=True)` is a refusal.
        return await self.server.call_tool(name, arguments)
        # ↑
