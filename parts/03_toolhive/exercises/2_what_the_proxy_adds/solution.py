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
        # ↓ The override first: the filter lists the names that agents see.
        tools = [replace(tool, **self.override.get(tool.name, {})) for tool in await self.server.list_tools()]
        return [tool for tool in tools if tool.name in self.filter]
        # ↑

    async def call_tool(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """The result of a tool that an agent calls by the name it sees."""
        # ↓ What is not shown is refused; a new name becomes the server's own.
        own = {change.get("name", real): real for real, change in self.override.items()}
        if name not in self.filter:
            return ToolResult(f"There is no tool {name}", is_error=True)
        return await self.server.call_tool(own.get(name, name), arguments)
        # ↑
