"""The tools of an MCP server, through a client in memory."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import anyio
import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import (
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    InputRequiredResult,
    TextContent,
)

from workshop.agent.mcp_tools import McpTools
from workshop.core.errors import WorkshopError


@dataclass(frozen=True)
class Sum:
    result: int


server = MCPServer("tools under test", log_level="ERROR")


@server.tool()
def add(a: int, b: int) -> Sum:
    """Add two numbers."""
    return Sum(a + b)


@server.tool(structured_output=False)
def as_text() -> str:
    """JSON as text only, as GitHub's server gives it."""
    return '{"issues": [1, 2]}'


@server.tool(structured_output=False)
def prose() -> str:
    return "no structure"


@server.tool()
def as_text_behind_a_virtual_server() -> CallToolResult:
    """The same as a text and as a structure around it, as ToolHive's VirtualMCPServer forwards it."""
    text = '{"issues": [1, 2]}'
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content={"text": text})


@server.tool()
def refuse() -> str:
    raise ToolError("there is no such issue")


@server.tool(structured_output=False)
def endless() -> str:
    return "x" * 300_000


@server.tool()
async def never() -> str:
    await anyio.sleep_forever()
    return ""


@server.tool()
def ask_back() -> InputRequiredResult:
    form = ElicitRequestFormParams(
        message="Which one?", requested_schema={"type": "object", "properties": {}}
    )
    return InputRequiredResult(input_requests={"which": ElicitRequest(params=form)}, request_state="s")


@pytest.fixture
async def tools() -> AsyncIterator[McpTools]:
    async with Client(server) as client:
        yield McpTools(client, timeout=60)


async def test_tools_are_listed_with_their_schemas(tools: McpTools) -> None:
    first = (await tools.list_tools())[0]
    assert (first.name, first.description) == ("add", "Add two numbers.")
    assert first.input_schema["required"] == ["a", "b"]


async def test_a_result_has_text_and_the_structure_the_server_gave(tools: McpTools) -> None:
    result = await tools.call_tool("add", {"a": 2, "b": 3})
    assert result.data == {"result": 5}
    assert "5" in result.text
    assert not result.is_error


async def test_json_in_the_text_counts_as_structure(tools: McpTools) -> None:
    assert (await tools.call_tool("as_text", {})).data == {"issues": [1, 2]}
    assert (await tools.call_tool("prose", {})).data is None
    assert (await tools.call_tool("as_text_behind_a_virtual_server", {})).data == {"issues": [1, 2]}


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("refuse", {}, "there is no such issue"),
        ("add", {"a": "many"}, "validation error"),
        ("unknown", {}, "unknown"),
        ("ask_back", {}, "refused the call"),
    ],
)
async def test_whatever_goes_wrong_in_a_call_is_a_result_for_the_model(
    tools: McpTools, name: str, arguments: dict[str, str], told: str
) -> None:
    result = await tools.call_tool(name, arguments)
    assert result.is_error
    assert told in result.text


async def test_a_call_that_takes_too_long_is_a_result_for_the_model() -> None:
    async with Client(server) as client:
        result = await McpTools(client, timeout=0.2).call_tool("never", {})
    assert result.is_error
    assert "imed out" in result.text


async def test_a_result_without_end_is_cut(tools: McpTools) -> None:
    result = await tools.call_tool("endless", {})
    assert len(result.text) < 201_000
    assert result.text.endswith("[cut: the result had 300000 characters]")


async def test_a_server_without_tools_is_distinguished_from_a_login_that_is_missing() -> None:
    async with Client(MCPServer("empty")) as client:
        with pytest.raises(WorkshopError, match="accepted the agent but has no tools") as caught:
            await McpTools(client).list_tools()
    assert "#6681" in caught.value.why
