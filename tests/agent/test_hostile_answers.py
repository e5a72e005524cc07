"""What a tool, a server or a page answers that cannot be used is an error result, or one of our errors."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from mcp import StdioServerParameters
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.serving import raw
from workshop.agent.connect import connect
from workshop.agent.loop import run_agent
from workshop.agent.mcp_tools import McpTools
from workshop.agent.messages import Conversation, ModelTurn, ToolCall, ToolReply, ToolSpec
from workshop.agent.practice_browser import approve_page
from workshop.agent.toolbox import PythonTools
from workshop.core.errors import WorkshopError
from workshop.core.http_client import UnusableAnswerError
from workshop.core.ports import free_port

BY_HAND = """
import json, sys
answer = open(sys.argv[1], "rb").read()
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    head = b'{"jsonrpc": "2.0", "id": ' + json.dumps(asked["id"]).encode() + b', "result": '
    if asked["method"] == "tools/call":
        body = answer
    elif asked["method"] == "tools/list":
        body = b'{"tools": []}'
    else:
        info = {"name": "by hand", "version": "1"}
        body = json.dumps({"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": info}).encode()
    sys.stdout.buffer.write(head + body + b"}\\n")
    sys.stdout.buffer.flush()
"""
TEXT = b'{"content": [{"type": "text", "text": "%s"}]}'
DEEP = b"[" * 20_000 + b"]" * 20_000
RESULTS = {
    "nested": b'{"content": [], "structuredContent": {"a": ' + DEEP + b"}}",
    "half a surrogate pair": TEXT % b"\\ud800",
}


def by_hand(folder: Path, result: bytes) -> StdioServerParameters:
    """A program that answers each tool call with this result."""
    (folder / "server.py").write_text(BY_HAND)
    (folder / "answer").write_bytes(result)
    return StdioServerParameters(
        command=sys.executable, args=[str(folder / "server.py"), str(folder / "answer")]
    )


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
async def test_a_result_that_cannot_be_read_is_an_error_result(tmp_path: Path, result: bytes) -> None:
    async with connect(by_hand(tmp_path, result), seconds=60) as client:
        got = await McpTools(client, timeout=1).call_tool("anything", {})
        assert got.is_error
        assert (await McpTools(client, timeout=1).call_tool("anything", {})).is_error  # it goes on


async def test_a_program_whose_line_does_not_end_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workshop.agent.connect.MOST_BYTES", 100_000)
    async with connect(by_hand(tmp_path, TEXT % (b"x" * 90_000)), seconds=60) as client:
        for _ in range(3):  # each line counts for itself
            assert len((await McpTools(client).call_tool("anything", {})).text) == 90_000
    with pytest.raises(UnusableAnswerError, match="that the agent started is too large") as caught:
        async with connect(by_hand(tmp_path, TEXT % (b"x" * 10_000_000)), seconds=60) as client:
            await McpTools(client).call_tool("anything", {})
    assert caught.value.why == "Its line is over 97 KiB; the rest was not read"


async def test_half_a_utf_8_sequence_in_a_result_is_replaced(tmp_path: Path) -> None:
    async with connect(by_hand(tmp_path, TEXT % b"Sch\xc3n"), seconds=60) as client:
        assert (await McpTools(client).call_tool("anything", {})).text == "Sch\N{REPLACEMENT CHARACTER}n"


async def test_a_text_of_nested_json_is_a_text() -> None:
    tools = PythonTools(deep)
    result = await tools.call_tool("deep", {})
    assert (result.is_error, len(result.text)) == (False, 40_000)


def deep() -> str:
    return DEEP.decode()


def half() -> str:
    return "half \ud800 a pair"


def halves() -> dict[str, str]:
    return {"half": "\udfff"}


def broken() -> str:
    raise ValueError("half \ud800 a pair")


@pytest.mark.parametrize("tool", [half, halves, broken])
async def test_half_a_surrogate_pair_in_a_result_is_replaced(tool: Any) -> None:
    result = await PythonTools(tool).call_tool(tool.__name__, {})
    assert "\N{REPLACEMENT CHARACTER}" in result.text
    result.text.encode()


class Asks:
    """A model that asks for one call, and then answers with what it was sent."""

    name = "script"

    def __init__(self, call: ToolCall) -> None:
        self._call = call

    async def reply(self, conversation: Conversation, tools: Sequence[ToolSpec]) -> ModelTurn:
        replies = [entry for entry in conversation if isinstance(entry, ToolReply)]
        return ModelTurn(replies[-1].result.text) if replies else ModelTurn("", (self._call,))


class Recorded:
    """A toolbox that must not be called."""

    async def list_tools(self) -> list[ToolSpec]:
        return [ToolSpec("add", "", {})]

    async def call_tool(self, name: str, arguments: Mapping[str, Any]) -> Any:
        raise AssertionError(name, arguments)


async def test_arguments_that_cannot_be_sent_are_reported_to_the_model() -> None:
    call = ToolCall("1", "add", {}, malformed=json.dumps({"a": "\ud800"}))
    assert "must be one JSON object, of UTF-8 text" in await run_agent("?", Asks(call), Recorded())


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"a": "x\ud800"}, "U+D800 is one half of a surrogate pair"),
        ({"a": json.loads("[" * 500 + "]" * 500)}, "nested more than 100 levels"),
    ],
)
async def test_arguments_that_no_model_parsed_are_refused_too(
    arguments: Any, why: str, tmp_path: Path
) -> None:
    async with connect(by_hand(tmp_path, b'{"content": []}'), seconds=60) as client:
        got = await McpTools(client).call_tool("anything", arguments)
        assert (got.is_error, why in got.text) == (True, True)
        assert not (await McpTools(client).call_tool("anything", {})).is_error


ENDLESS = {
    "an endless 401": b"401 Unauthorized\r\nContent-Type: application/json\r\nWWW-Authenticate: Bearer",
    "endless JSON": b"200 OK\r\nContent-Type: application/json",
}


@pytest.mark.parametrize("head", ENDLESS.values(), ids=ENDLESS)
async def test_a_server_that_never_stops_is_one_error_that_names_it(head: bytes) -> None:
    async with raw(head, b'{"a": "' + b"x" * 65536, endless=True) as url:
        with pytest.raises(UnusableAnswerError, match=r"127\.0\.0\.1:\d+ is too large"):
            async with connect(f"{url}/mcp"):
                raise AssertionError


async def test_a_page_that_never_ends_is_one_error() -> None:
    async with raw(b"200 OK\r\nContent-Type: text/event-stream", b"<p>" * 9999, endless=True) as url:
        with pytest.raises(WorkshopError, match="too large"):
            await approve_page(url, "learner")


INFO = {"name": "by hand", "version": "1"}
OPENED = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": INFO}
NO_MCP: list[tuple[object, object, str]] = [
    ({}, {}, "does not answer as MCP requires"),
    (5, {}, "does not answer as MCP requires"),
    (None, {}, "does not answer as MCP requires"),
    ([], {}, "does not answer as MCP requires"),
    (OPENED | {"protocolVersion": "9999-99-99"}, {}, "does not answer as MCP requires"),
    (OPENED | {"capabilities": []}, {}, "does not answer as MCP requires"),
    (OPENED | {"serverInfo": "x"}, {}, "does not answer as MCP requires"),
    (OPENED, {"tools": None}, "list of tools is not valid"),
    (OPENED, {"tools": [5]}, "list of tools is not valid"),
    (OPENED, {"tools": [{"name": 7}]}, "list of tools is not valid"),
    (OPENED, {"tools": [{"name": "a", "inputSchema": []}]}, "list of tools is not valid"),
    (OPENED, 5, "does not answer as MCP requires"),
]


@pytest.mark.parametrize(("opened", "tools", "words"), NO_MCP)
async def test_a_server_that_answers_something_else_is_one_error(
    serve: Any, opened: object, tools: object, words: str
) -> None:
    async def answer(request: Request) -> Response:
        asked = await request.json()
        results = {"initialize": opened, "tools/list": tools}
        if "id" not in asked:
            return Response(status_code=202)
        if asked["method"] not in results:
            error = {"code": -32601, "message": "Method not found"}
            return JSONResponse({"jsonrpc": "2.0", "id": asked["id"], "error": error})
        return JSONResponse({"jsonrpc": "2.0", "id": asked["id"], "result": results[asked["method"]]})

    app = Starlette(routes=[Route("/mcp", answer, methods=["POST"])])
    async with serve(app, free_port()) as url:
        with pytest.raises(WorkshopError, match=words) as caught:
            async with connect(f"{url}/mcp", seconds=60) as client:
                await McpTools(client).list_tools()
    assert "pydantic" not in caught.value.why
