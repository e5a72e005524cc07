"""The operations of a described API as MCP tools."""

from mcp_types import Tool, ToolAnnotations

from workshop.auth.openapi_tools import Api


def tools_of(api: Api, prefix: str) -> list[Tool]:
    """One tool for each operation, its name behind `prefix`; all of them only read."""
    return [
        Tool(
            name=prefix + operation.name,
            description=operation.description,
            input_schema=dict(operation.input_schema),
            annotations=ToolAnnotations(read_only_hint=True, open_world_hint=True),
        )
        for operation in api.operations.values()
    ]
