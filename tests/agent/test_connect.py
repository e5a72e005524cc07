"""Connecting: real HTTP, real processes, and every failure as one error without a group around it."""

import functools
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import StdioServerParameters
from mcp.server.mcpserver import Context, MCPServer
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workshop.agent.connect import connect
from workshop.agent.events import Connected, Connecting, Event, Warned
from workshop.agent.mcp_tools import McpTools
from workshop.agent.messages import ToolResult
from workshop.core.errors import DeadlineError, WorkshopError
from workshop.core.ports import free_port

SERVER = """
from mcp.server.mcpserver import MCPServer
server = MCPServer("by hand", log_level="ERROR")
@server.tool()
def hello() -> str:
    return "world"
@server.tool()
def leave() -> str:
    import os
    os._exit(3)
server.run("stdio")
"""


def _http_server() -> Starlette:
    server = MCPServer("over http", log_level="ERROR")

    @server.tool()
    def hello() -> str:
        return "world"

    return server.streamable_http_app()


def _program(tmp_path: Path, text: str) -> StdioServerParameters:
    path = tmp_path / "server.py"
    path.write_text(text)
    return StdioServerParameters(command=sys.executable, args=[str(path)])


async def test_a_server_over_http_is_connected_and_announced(serve: Any) -> None:
    events: list[Event] = []
    async with (
        serve(_http_server(), free_port()) as url,
        connect(f"{url}/mcp", observe=events.append) as client,
    ):
        assert (await McpTools(client).call_tool("hello", {})).text == "world"
    assert events == [Connecting(f"{url}/mcp"), Connected(f"{url}/mcp", "over http", "2026-07-28")]


def _as_toolhive_filters(app: ASGIApp) -> ASGIApp:
    """Pass requests on; of a list of tools only the tools come back, as from ToolHive 0.44.0's filter."""

    async def filtering(scope: Scope, receive: Receive, send: Send) -> None:
        async def filtered(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [pair for pair in message["headers"] if pair[0] != b"content-length"]
            elif b'"tools":[' in message.get("body", b""):
                prefix, data, answer = message["body"].rpartition(b"data: ")
                listed = json.loads(answer)
                listed["result"] = {"tools": listed["result"]["tools"]}
                message["body"] = prefix + data + json.dumps(listed).encode() + b"\n\n"
            await send(message)

        await app(scope, receive, filtered)

    return filtering


async def test_behind_a_filter_that_only_knows_the_older_era_the_older_era_is_spoken(serve: Any) -> None:
    events: list[Event] = []
    async with (
        serve(_as_toolhive_filters(_http_server()), free_port()) as url,
        connect(f"{url}/mcp", observe=events.append) as client,
    ):
        assert [tool.name for tool in await McpTools(client).list_tools()] == ["hello"]
        assert (await McpTools(client).call_tool("hello", {})).text == "world"
    assert events[-1] == Connected(f"{url}/mcp", "over http", "2025-11-25")
    assert [type(event) for event in events] == [Connecting, Warned, Connected]


@dataclass
class Renaming:
    """Shows a tool under another name, and asks for the real one in the body alone: ToolHive's tool filter.

    `asked` are the requests as they came in: the era they are of, the method, and how they were answered.
    """

    app: ASGIApp
    shown: str
    real: str
    asked: list[tuple[str, str, int]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        body = await Request(scope, receive).body()
        asked = json.loads(body)
        version = Headers(scope=scope).get("mcp-protocol-version", "none")

        real = body.replace(self._name(self.shown), self._name(self.real))
        again = [{"type": "http.request", "body": real}]

        async def renamed() -> Message:
            return again.pop() if again else await receive()

        async def noting(answer: Message) -> None:
            if answer["type"] == "http.response.start":
                self.asked.append((version, asked["method"], answer["status"]))
                answer["headers"] = [pair for pair in answer["headers"] if pair[0] != b"content-length"]
            elif b'"tools":[' in answer.get("body", b""):
                answer["body"] = answer["body"].replace(self._name(self.real), self._name(self.shown))
            await send(answer)

        headers = [pair for pair in scope["headers"] if pair[0] != b"content-length"]
        await self.app({**scope, "headers": headers}, renamed, noting)

    @staticmethod
    def _name(name: str) -> bytes:
        return f'"name":"{name}"'.encode()


async def test_behind_a_filter_that_renames_in_the_body_alone_the_older_era_is_spoken(serve: Any) -> None:
    """The sequence of ToolHive 0.63.0 in front of a server that compares header and body."""
    events: list[Event] = []
    renaming = Renaming(_http_server(), "greet", "hello")
    async with (
        serve(renaming, free_port()) as url,
        connect(f"{url}/mcp", observe=events.append) as client,
    ):
        tools = McpTools(client)
        assert [tool.name for tool in await tools.list_tools()] == ["greet"]
        with anyio.move_on_after(30):  # over before the older client is: as a model's turn is
            assert await tools.call_tool("greet", {}) == ToolResult("world", {"result": "world"})
        assert (await tools.call_tool("greet", {})).text == "world"
        assert [tool.name for tool in await tools.list_tools()] == ["greet"]
    assert [asked for asked in renaming.asked if asked[1] != "notifications/initialized"] == [
        ("2026-07-28", "server/discover", 200),
        ("2026-07-28", "tools/list", 200),
        ("2026-07-28", "tools/call", 400),
        ("2026-07-28", "tools/list", 200),  # the SDK's own remedy: the schema may have changed
        ("2026-07-28", "tools/call", 400),
        ("none", "initialize", 200),
        ("2025-11-25", "tools/call", 200),
        ("2025-11-25", "tools/list", 200),  # the SDK's, for the schema of what came back
        ("2025-11-25", "tools/call", 200),
        ("2025-11-25", "tools/list", 200),
    ]
    (warned,) = [event for event in events if isinstance(event, Warned)]
    assert "2025-11-25" in warned.text


async def test_calls_at_once_step_back_together(serve: Any) -> None:
    events: list[Event] = []
    renaming = Renaming(_http_server(), "greet", "hello")
    async with (
        serve(renaming, free_port()) as url,
        connect(f"{url}/mcp", observe=events.append) as client,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(4):
            tasks.start_soon(McpTools(client).call_tool, "greet", {})
    assert [asked[1] for asked in renaming.asked].count("initialize") == 1
    assert len([event for event in events if isinstance(event, Warned)]) == 1


async def test_where_the_older_era_is_not_spoken_the_refusal_is_reported(serve: Any) -> None:
    renaming = Renaming(_http_server(), "greet", "hello")

    async def modern_only(scope: Scope, receive: Receive, send: Send) -> None:
        modern = scope["type"] != "http" or Headers(scope=scope).get("mcp-protocol-version") == "2026-07-28"
        await (renaming if modern else PlainTextResponse("no", 400))(scope, receive, send)

    async with serve(modern_only, free_port()) as url, connect(f"{url}/mcp") as client:
        refused = await McpTools(client).call_tool("greet", {})
        assert refused.is_error
        assert "header does not match" in refused.text
        assert [tool.name for tool in await McpTools(client).list_tools()] == ["greet"]


async def test_the_tools_are_listed_once_though_connecting_looks_at_them_too(serve: Any) -> None:
    app, asked = _http_server(), list[str]()

    async def counting(scope: Scope, receive: Receive, send: Send) -> None:
        asked.extend(value.decode() for name, value in scope.get("headers", ()) if name == b"mcp-method")
        await app(scope, receive, send)

    async with serve(counting, free_port()) as url, connect(f"{url}/mcp") as client:
        await McpTools(client).list_tools()
        assert asked == ["server/discover", "tools/list"]
        await McpTools(client).list_tools()
        assert asked == ["server/discover", "tools/list", "tools/list"]


async def test_a_server_over_stdio_is_started_and_connected(tmp_path: Path) -> None:
    events: list[Event] = []
    async with connect(_program(tmp_path, SERVER), observe=events.append) as client:
        assert (await McpTools(client).call_tool("hello", {})).text == "world"
    name = f"{Path(sys.executable).name} server.py"
    assert events == [Connecting(name), Connected(name, "by hand", "2026-07-28")]


async def test_a_server_that_dies_during_a_call_is_reported(tmp_path: Path) -> None:
    with pytest.raises(WorkshopError, match="ended the connection"):
        async with connect(_program(tmp_path, SERVER)) as client:
            await McpTools(client).call_tool("leave", {})


async def test_nobody_at_the_address_is_reported_with_the_command_that_helps() -> None:
    with pytest.raises(WorkshopError, match="Nothing answers at http://localhost:") as caught:
        async with connect(f"http://localhost:{free_port()}/mcp"):
            pass
    assert "`workshop up`" in caught.value.hint


@pytest.mark.parametrize("url", ["nonsense", "ftp://localhost/mcp", "http://[::1/mcp"])
async def test_what_is_no_url_is_reported(url: str) -> None:
    with pytest.raises(WorkshopError, match="is not the URL of an MCP server"):
        async with connect(url):
            pass


@pytest.mark.parametrize(
    ("response", "what", "why"),
    [
        (PlainTextResponse("bad", 502), "refused the request", "HTTP 502 Bad Gateway"),
        (PlainTextResponse("no", 401), "refused the request", "HTTP 401 Unauthorized"),
        (PlainTextResponse("hello"), "refused the request", "Unexpected content type"),
        (JSONResponse({"hello": "world"}), "does not answer as MCP requires", "not JSON-RPC 2.0"),
    ],
)
async def test_a_server_that_does_not_speak_mcp_is_reported_with_its_answer(
    serve: Any, response: PlainTextResponse | JSONResponse, what: str, why: str
) -> None:
    app = Starlette(routes=[Route("/mcp", lambda _: response, methods=["GET", "POST", "DELETE"])])
    async with serve(app, free_port()) as url:
        with pytest.raises(WorkshopError, match=what) as caught:
            async with connect(f"{url}/mcp"):
                pass
    assert why in caught.value.why


async def test_a_server_that_never_answers_is_a_deadline_error(serve: Any) -> None:
    async def silent(_: object) -> None:
        await anyio.sleep_forever()

    app = Starlette(routes=[Route("/mcp", silent, methods=["GET", "POST"])])
    async with serve(app, free_port()) as url:
        with pytest.raises(DeadlineError, match=r"did not answer within 0\.1 seconds"):
            async with connect(f"{url}/mcp", seconds=0.1):
                pass


async def test_a_program_that_cannot_be_started_is_reported() -> None:
    with pytest.raises(WorkshopError, match="Cannot start `no-such-program`"):
        async with connect(StdioServerParameters(command="no-such-program")):
            pass


async def test_a_program_that_ends_at_once_is_reported_with_the_command_to_try(tmp_path: Path) -> None:
    with pytest.raises(WorkshopError, match="ended before it answered") as caught:
        async with connect(_program(tmp_path, "raise SystemExit(1)")):
            pass
    assert "server.py" in caught.value.what


async def test_an_error_in_the_body_comes_out_as_it_is(serve: Any) -> None:
    async with serve(_http_server(), free_port()) as url:
        with pytest.raises(KeyError, match="a learner's mistake"):
            async with connect(f"{url}/mcp"):
                raise KeyError("a learner's mistake")


@pytest.mark.parametrize("era", ["2026-07-28", "2025-11-25"])
async def test_each_message_is_one_envelope_without_a_null(serve: Any, era: str) -> None:
    """ToolHive refuses batches, `params: null` and odd ids since 0.55."""
    server = MCPServer("over http", log_level="ERROR")

    @server.tool()
    async def wait(context: Context) -> str:
        await context.report_progress(1, 2)
        await anyio.sleep_forever()
        return "never"

    app = server.streamable_http_app()
    filtered = _as_toolhive_filters(app) if era == "2025-11-25" else app
    sent: list[Any] = []

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        async def heard() -> Message:
            message = await receive()
            if message["type"] == "http.request" and message.get("body"):
                sent.append(json.loads(message["body"]))
            return message

        await filtered(scope, heard, send)

    async with serve(noting, free_port()) as url, connect(f"{url}/mcp") as client:
        assert client.protocol_version == era
        await McpTools(client).list_tools()
        begun = anyio.Event()

        async def reached(progress: float, total: float | None, message: str | None) -> None:
            begun.set()

        async with anyio.create_task_group() as calls:
            calls.start_soon(functools.partial(client.call_tool, "wait", progress_callback=reached))
            await begun.wait()
            calls.cancel_scope.cancel()
        await McpTools(client).list_tools()  # what tells of the end of that call has arrived before this
    assert {"tools/list", "tools/call"} <= {message["method"] for message in sent}
    assert ("notifications/cancelled" in {message["method"] for message in sent}) == (era == "2025-11-25")
    for message in sent:
        assert None not in message.values(), message
        assert isinstance(message.get("params", {}), dict), message
        assert type(message.get("id", 0)) in (int, str), message
