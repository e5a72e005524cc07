"""The tools of an MCP server, over any transport."""

import json
from collections.abc import Mapping
from typing import Any

from mcp import Client, MCPError
from mcp.types import CONNECTION_CLOSED, CallToolResult, ContentBlock, TextContent, Tool
from pydantic import ValidationError

from workshop.agent.messages import ToolResult, ToolSpec
from workshop.agent.toolbox import mistake
from workshop.core.encoding import parse_json, unsendable, whole_characters
from workshop.core.errors import WorkshopError
from workshop.core.text import one_line

_MAX_PAGES = 50  # a server may name a next page forever
_MAX_TEXT = 200_000  # characters; more would fill the context of most models


class McpTools:
    """`tools/list` and `tools/call` of a connected client; every request ends within `timeout` seconds."""

    def __init__(self, client: Client, timeout: float = 30) -> None:
        self._client = client
        self._timeout = timeout

    async def list_tools(self) -> list[ToolSpec]:
        """List all pages of tools; raises WorkshopError if the server has none, or no valid list."""
        found: list[Tool] = []
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
            try:
                page = await self._client.list_tools(cursor=cursor)
            except ValidationError as error:
                raise WorkshopError(
                    "The server's list of tools is not valid", why=one_line(first_mistake(error), 300)
                ) from error
            found += page.tools
            cursor = page.next_cursor
            if not cursor:
                break
        if not found:
            raise _no_tools()
        return [ToolSpec(tool.name, tool.description or "", tool.input_schema) for tool in found]

    async def call_tool(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Call a tool; refusals, timeouts and requests for input are results with `is_error`.

        Raises WorkshopError if the connection is lost.
        """
        if mistake := unsendable(arguments):
            return ToolResult(f"The arguments cannot be sent: {mistake}", is_error=True)
        try:
            result = await self._client.call_tool(name, dict(arguments), read_timeout_seconds=self._timeout)
        except MCPError as error:
            if error.code == CONNECTION_CLOSED:
                raise WorkshopError(
                    "The server ended the connection", why=f"While the tool {name} ran"
                ) from error
            return ToolResult(f"The server refused the call: {error.message}", is_error=True)
        # The SDK raises RuntimeError for a result that does not fit the output schema of its tool.
        except (ValidationError, RuntimeError) as error:
            why = first_mistake(error) if isinstance(error, ValidationError) else str(error)
            return ToolResult(f"The server's answer cannot be used: {one_line(why, 300)}", is_error=True)
        return _result(result)


def first_mistake(error: ValidationError) -> str:
    """The first mistake that pydantic found in an answer: its path in the JSON, and what is wrong there."""
    return mistake(error.errors(include_url=False)[0])


def _no_tools() -> WorkshopError:
    return WorkshopError(
        "The server accepted the agent but has no tools",
        why="Behind ToolHive's remote proxy this is its issue #6681: the login works, but the proxy sends "
        "its own token to the remote server instead of the upstream's",
        hint="Check a tool filter, the proxy's log, and that the pinned ToolHive version runs",
    )


def _result(result: CallToolResult) -> ToolResult:
    text = "\n".join(map(_text, result.content))
    data = result.structured_content
    # ToolHive's VirtualMCPServer gives this structure to a result without one (0.63.0 `pkg/vmcp/client`).
    if data is None or data == {"text": text}:
        data = _parsed(text) or data
    if not text and data is not None:
        text = json.dumps(data, ensure_ascii=False)
    if len(text) > _MAX_TEXT:
        text = f"{text[:_MAX_TEXT]}\n[cut: the result had {len(text)} characters]"
    return ToolResult(whole_characters(text), data, bool(result.is_error))


def _text(block: ContentBlock) -> str:
    return block.text if isinstance(block, TextContent) else f"[{block.type}]"


def _parsed(text: str) -> Any:  # noqa: ANN401 - a tool returns what it likes
    try:
        return parse_json(text)
    except ValueError:
        return None
