"""Filtered tools are neither listed nor called; renamed ones are both, under their new name."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from aiohttp import web
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError

from tests.servers.gateway.harness import (
    NO_TLS,
    Site,
    configured,
    real_site,
    served,
    settings,
    site,
    upstream_of,
)
from tests.servers.gateway.mcp_upstream import Answer, Recorder
from workshop.core.ports import free_port

RULES = {
    "filter": ["me", "search", "überall"],
    "override": {
        "get_me": {"name": "me", "description": "Who am I?"},
        "search": {"description": "Find things"},
        "everywhere": {"name": "überall"},
    },
}
TOOLS = [
    {"name": name, "description": "d", "x": [1]} for name in ("get_me", "search", "delete", "everywhere")
]
LISTED = {"jsonrpc": "2.0", "id": 1, "result": {"tools": TOOLS, "nextCursor": "n", "ttlMs": 5}}


@asynccontextmanager
async def filtering(
    folder: Path, answer: Answer | None = None, rules: dict[str, Any] | None = None
) -> AsyncIterator[tuple[Site, Recorder]]:
    recorder = Recorder(answer)
    async with upstream_of(recorder.route()) as remote:
        values = settings(folder) | {"remote_url": f"{remote}/mcp", "auth": None, "tools": rules or RULES}
        async with site(configured(folder, values)) as gateway:
            yield gateway, recorder


def calling(name: str, id_: int = 1) -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "id": id_,
        "method": "tools/call",
        "params": {"name": name, "arguments": {"a": 1}},
    }


async def listed(request: web.Request) -> web.Response:
    del request
    return web.json_response(LISTED)


async def streamed(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    progress = b'event: message\nid: 1\ndata: {"jsonrpc":"2.0","method":"notifications/progress"}\n\n'
    event = (
        progress + b"event: message\r\nid: 2\r\ndata: " + json.dumps(LISTED).encode() + b"\r\n\r\n: ping\n\n"
    )
    for at in range(0, len(event), 7):
        await response.write(event[at : at + 7])
    return response


SHOWN = [
    {"name": "me", "description": "Who am I?", "x": [1]},
    {"name": "search", "description": "Find things", "x": [1]},
    {"name": "überall", "description": "d", "x": [1]},
]


async def test_a_list_in_json_is_filtered_and_renamed(tmp_path: Path) -> None:
    async with filtering(tmp_path, listed) as (gateway, _):
        answer = await gateway.http.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert answer.json()["result"] == {"tools": SHOWN, "nextCursor": "n", "ttlMs": 5}


async def test_a_list_in_a_stream_is_filtered_and_other_events_are_untouched(tmp_path: Path) -> None:
    async with filtering(tmp_path, streamed) as (gateway, _):
        answer = await gateway.http.get("/mcp")
    progress, message, ping = answer.content.replace(b"\r\n", b"\n").split(b"\n\n")[:3]
    assert progress == b'event: message\nid: 1\ndata: {"jsonrpc":"2.0","method":"notifications/progress"}'
    assert message.startswith(b"event: message\nid: 2\ndata: ")
    assert json.loads(message.split(b"data: ")[1])["result"]["tools"] == SHOWN
    assert ping == b": ping"


@pytest.mark.parametrize("name", ["delete", "get_me", "everywhere", "", "ME", "unknown"])
async def test_a_tool_that_is_not_listed_cannot_be_called(tmp_path: Path, name: str) -> None:
    async with filtering(tmp_path) as (gateway, recorder):
        answer = await gateway.http.post("/mcp", json=calling(name, 7))
    assert answer.status_code == 200
    assert answer.json() == {
        "jsonrpc": "2.0",
        "id": 7,
        "error": {"code": -32602, "message": "tool not found"},
    }
    assert recorder.requests == []


async def test_a_renamed_tool_is_called_by_its_real_name_in_body_and_header(tmp_path: Path) -> None:
    encoded = "=?base64?w7xiZXJhbGw=?="
    async with filtering(tmp_path) as (gateway, recorder):
        for name, header in (("me", "me"), ("überall", encoded), ("search", "search"), ("me", "other")):
            headers = {"Mcp-Name": header, "Mcp-Method": "tools/call"}
            await gateway.http.post("/mcp", json=calling(name), headers=headers)
    names = [json.loads(body)["params"]["name"] for *_, body in recorder.requests]
    assert names == ["get_me", "everywhere", "search", "get_me"]
    headers_sent = [dict(headers)["mcp-name"] for _, _, headers, _ in recorder.requests]
    # The last one disagreed with its body, and still does: that is for the server to refuse.
    assert headers_sent == ["get_me", "everywhere", "search", "other"]
    assert json.loads(recorder.requests[0][3])["params"]["arguments"] == {"a": 1}


AMBIGUOUS = [
    b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"delete"}}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete","name":"me"}}',
    b'{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","params":{"name":"delete"}}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"me","NAME":"delete"}}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"me"},"Params":{"name":"delete"}}',
    b'[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete"}}]',
    b'{"method": "tools/call"',
    b"",
    b"7",
    b'"tools/call"',
    b"[" * 100_000,
    '{"jsonrpc":"2.0","id":1,"method":"ping"}'.encode("utf-16"),
]


@pytest.mark.parametrize("body", AMBIGUOUS, ids=range(len(AMBIGUOUS)))
async def test_a_request_two_parsers_could_read_differently_goes_nowhere(tmp_path: Path, body: bytes) -> None:
    async with filtering(tmp_path) as (gateway, recorder):
        answer = await gateway.http.post("/mcp", content=body)
    assert answer.status_code == 400
    assert recorder.requests == []


@pytest.mark.parametrize(
    ("params", "code"),
    [
        (None, -32600),
        ([], -32600),
        ("delete", -32600),
        ({"name": None}, -32602),
        ({"name": ["me"]}, -32602),
        ({"Name": "delete"}, -32600),
        ({}, -32602),
    ],
)
async def test_a_call_without_a_proper_name_goes_nowhere(tmp_path: Path, params: object, code: int) -> None:
    async with filtering(tmp_path) as (gateway, recorder):
        answer = await gateway.http.post("/mcp", json=calling("me") | {"params": params})
    assert answer.json()["error"]["code"] == code
    assert recorder.requests == []


async def test_every_other_byte_of_a_list_stays_as_it_is(tmp_path: Path) -> None:
    """ToolHive 0.63.0 too: members of MCP 2026-07-28, numbers and spaces arrive as the server wrote them."""
    one = '{ "name" : "get_me","inputSchema":{"type":"object","x":1.0e2, "y":"\\u00e9"} }'
    other, third = '{"description":"d" ,"name":"search"}', '{"name":"delete"}'
    body = ' {"jsonrpc":"2.0", "id":1,"result":{ "ttlMs":5.0,"tools": [%s, %s ,%s],"_meta":{}} }'

    async def answer(request: web.Request) -> web.Response:
        del request
        return web.Response(text=body % (third, one, other), content_type="application/json")

    async with filtering(tmp_path, answer) as (gateway, _):
        got = await gateway.http.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    one = one.replace('"get_me"', '"me"').replace("} }", '} ,"description":"Who am I?"}')
    other = other.replace('"d"', '"Find things"')
    assert got.text == (body % (one, other, "")).replace(" ,]", "]").replace("}, {", "},{")


UNREADABLE = [
    '{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"me"},7]}}',
    '{"jsonrpc":"2.0","id":1,"result":{"tools":[{"description":"no name"}]}}',
    '{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"me","name":"delete"}]}}',
    '{"jsonrpc":"2.0","id":1,"result":{"tools":[{"Name":"delete"}]}}',
    '{"jsonrpc":"2.0","id":1,"result":{"tools":[],"Tools":[{"name":"delete"}]}}',
    '{"jsonrpc":"2.0","id":1,"result":{},"result":{"tools":[{"name":"delete"}]}}',
    '{"jsonrpc":"2.0","id":1,"Result":{"tools":[{"name":"delete"}]}}',
    '{"jsonrpc":"2.0","id":1,"result":{"\\u0074ools":{"name":"delete"}}}',
    '[{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"delete"}]}}]',
    '{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"delete"}]',
    '{}{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"delete"}]}}',
    '\ufeff{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"delete"}]}}',
]


@pytest.mark.parametrize("reply", UNREADABLE, ids=range(len(UNREADABLE)))
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream", "text/plain", ""])
async def test_a_list_two_clients_could_read_differently_is_withheld(
    tmp_path: Path, reply: str, kind: str
) -> None:
    event = kind == "text/event-stream"

    async def answer(request: web.Request) -> web.StreamResponse:
        del request
        text = f"data: {reply}\n\n: on it goes\n\n" if event else reply
        return web.Response(body=text.encode(), headers={"Content-Type": kind} if kind else {})

    async with filtering(tmp_path, answer) as (gateway, _):
        got = await gateway.http.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    data = got.text.removeprefix("event: message\ndata: ").partition("\n\n")[0] if event else got.text
    error = {"code": -32603, "message": "internal error"}
    assert json.loads(data) == {"jsonrpc": "2.0", "id": 1, "error": error}
    assert got.status_code == (200 if event else 500)
    assert event == ("on it goes" in got.text)
    assert "delete" not in got.text


@pytest.mark.parametrize(
    "stream",
    [
        b'data: {"jsonrpc":"2.0","id":1,"result":\rdata: {"tools":[{"name":"delete"}]}}\n\n',
        b'data: {"jsonrpc":"2.0","id":1,"result":\r\r{"tools":[{"name":"delete"}]}}\n\n',
        b'data\ndata: {"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"delete"}]}}',
    ],
)
@pytest.mark.parametrize("kind", ["text/event-stream", "text/plain"])
async def test_no_way_to_end_a_line_gets_a_list_through(tmp_path: Path, stream: bytes, kind: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        del request
        return web.Response(body=stream, content_type=kind)

    async with filtering(tmp_path, answer) as (gateway, _):
        got = await gateway.http.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert "delete" not in got.text


async def test_what_is_not_about_tools_is_untouched(tmp_path: Path) -> None:
    body = b'{ "jsonrpc":"2.0", "id":1,"method":"resources/read", "params":{"uri":"x","tools":[1.0]} }'
    reply = b'{"jsonrpc": "2.0",  "id": 1, "result": {"x": 1.0,  "structured": {"tools": []}}}'

    async def answer(request: web.Request) -> web.Response:
        del request
        return web.Response(body=reply, content_type="application/json")

    async with filtering(tmp_path, answer) as (gateway, recorder):
        got = await gateway.http.post("/mcp", content=body)
    assert recorder.requests[0][3] == body
    assert got.content == reply


async def test_overrides_without_a_filter_hide_nothing_else(tmp_path: Path) -> None:
    rules = {"override": {"get_me": {"name": "delete"}}}
    async with filtering(tmp_path, listed, rules) as (gateway, recorder):
        answer = await gateway.http.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        await gateway.http.post("/mcp", json=calling("delete"))
    # The new name hides the tool that had it: one name, one tool.
    assert [tool["name"] for tool in answer.json()["result"]["tools"]] == ["delete", "search", "everywhere"]
    assert json.loads(recorder.requests[-1][3])["params"]["name"] == "get_me"


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
async def test_an_answer_too_long_to_filter_is_not_let_through(tmp_path: Path, kind: str) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        for _ in range(200):
            await response.write(b'data: {"tools"' + b" " * 65536)
        return response

    recorder = Recorder(answer)
    async with upstream_of(recorder.route()) as remote:
        values = settings(tmp_path, port=free_port())
        values |= {"remote_url": f"{remote}/mcp", "auth": None, "tools": RULES}
        async with real_site(configured(tmp_path, values)) as gateway:
            got = await gateway.http.post("/mcp", json=calling("me"))
    assert '"code":-32603' in got.text
    assert "    " not in got.text


async def test_a_compressed_answer_is_not_let_through_unread(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        del request
        return web.Response(body=b"x", headers={"Content-Encoding": "br", "Content-Type": "application/json"})

    async with filtering(tmp_path, answer) as (gateway, _):
        got = await gateway.http.post("/mcp", json=calling("me", 5))
    assert (got.status_code, got.json()["id"], got.json()["error"]["code"]) == (500, 5, -32603)


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_the_real_client_sees_and_calls_what_the_rules_allow(tmp_path: Path, mode: str) -> None:
    server = MCPServer("remote")

    @server.tool()
    def get_me() -> str:
        """Say who."""
        return "learner"

    @server.tool()
    def delete() -> str:
        """Delete everything."""
        raise AssertionError

    async with served(server.streamable_http_app(), free_port()) as url:
        values = settings(tmp_path, port=free_port())
        values |= {"remote_url": f"{url}/mcp", "auth": None, "tools": RULES}
        async with (
            real_site(configured(tmp_path, values)) as gateway,
            httpx2.AsyncClient(verify=NO_TLS) as http,
            Client(streamable_http_client(f"{gateway.url}/mcp", http_client=http), mode=mode) as client,
        ):
            assert [tool.name for tool in (await client.list_tools()).tools] == ["me"]
            assert (await client.call_tool("me", {})).structured_content == {"result": "learner"}
            with pytest.raises(MCPError, match="tool not found"):
                await client.call_tool("delete", {})
