"""Part 2's server, asked by the real client: over stdio and over HTTP, in both eras of the protocol."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import psutil
import pytest
from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult, TextContent

from workshop.core.paths import parts_dir
from workshop.toolhive.manifests import load

if TYPE_CHECKING:
    from tests.parts.conftest import RunningServer, StartServer

ERAS = {"auto": "2026-07-28", "legacy": "2025-11-25"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
HEADERS = {"Accept": "application/json, text/event-stream"}
MISTAKES = [
    ("list_issues", {"repository": "nowhere"}, "There is no repository `nowhere`; there are trail-mapper"),
    ("list_issues", {"repository": "dotfiles", "state": "odd"}, "Input should be 'open', 'closed' or 'all'"),
    ("list_issues", {}, "Field required"),
    ("get_issue", {"repository": "trail-mapper", "number": 1}, "trail-mapper has no issue #1"),
    ("calculate", {"operation": "divide", "a": 1, "b": 0}, "Cannot divide by zero"),
    ("calculate", {"operation": "multiply", "a": 1e308, "b": 10}, "The result is not a finite number"),
    ("calculate", {"operation": "add", "a": "NaN", "b": 1}, "The result is not a finite number"),
    ("calculate", {"operation": "power", "a": 2, "b": 2}, "Input should be 'add'"),
    ("slow_count", {"steps": 0}, "`steps` must be 1 to 100"),
    ("slow_count", {"seconds": 6}, "`seconds` 0 to 5"),
    ("no_such_tool", {}, "Unknown tool: no_such_tool"),
]


@pytest.fixture(params=["stdio", "http"])
def target(request: pytest.FixtureRequest, server_script: Path) -> str | StdioServerParameters:
    """Where a client finds the server."""
    if request.param == "stdio":
        return StdioServerParameters(command=sys.executable, args=[str(server_script)])
    running: RunningServer = request.getfixturevalue("http_server")
    return running.url


def connect(target: str | StdioServerParameters, era: str = "auto") -> AbstractAsyncContextManager[Client]:
    return Client(target, mode=era, read_timeout_seconds=60)


def text_of(result: CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


@pytest.mark.parametrize("era", ERAS)
async def test_the_question_is_answered_by_two_calls_in_both_eras(
    target: str | StdioServerParameters, era: str
) -> None:
    async with connect(target, era) as client:
        assert client.protocol_version == ERAS[era]
        repositories = (await client.call_tool("list_repositories")).structured_content
        assert repositories is not None
        busiest = max(repositories["repositories"], key=lambda repository: repository["open_issues"])
        issues = (await client.call_tool("list_issues", {"repository": busiest["name"]})).structured_content
    assert (busiest["name"], busiest["open_issues"]) == ("trail-mapper", 4)
    assert issues is not None
    assert issues["issues"][0]["title"] == "GPX export drops the last waypoint"
    assert [issue["number"] for issue in issues["issues"]] == [42, 41, 37, 29]


async def test_every_tool_is_described_and_marked_read_only(http_server: RunningServer) -> None:
    async with connect(http_server.url) as client:
        tools = (await client.list_tools()).tools
    assert [tool.name for tool in tools] == [
        "list_repositories",
        "list_issues",
        "get_issue",
        "calculate",
        "slow_count",
    ]
    for tool in tools:
        assert tool.description
        assert tool.title
        assert tool.output_schema is not None
        assert tool.annotations is not None
        assert (tool.annotations.read_only_hint, tool.annotations.open_world_hint) == (True, False)


async def test_the_text_of_a_result_says_the_same_as_its_structure(http_server: RunningServer) -> None:
    async with connect(http_server.url) as client:
        result = await client.call_tool("get_issue", {"repository": "bread-journal", "number": 12})
    assert result.structured_content == json.loads(text_of(result))
    assert "Proofing timer" in text_of(result)


@pytest.mark.parametrize(("state", "numbers"), [("open", [12, 9]), ("closed", [10]), ("all", [12, 10, 9])])
async def test_issues_are_chosen_by_state_and_come_newest_first(
    http_server: RunningServer, state: str, numbers: list[int]
) -> None:
    async with connect(http_server.url) as client:
        result = await client.call_tool("list_issues", {"repository": "bread-journal", "state": state})
    assert result.structured_content is not None
    assert [issue["number"] for issue in result.structured_content["issues"]] == numbers


@pytest.mark.parametrize(
    ("operation", "expected"), [("add", 9), ("subtract", 5), ("multiply", 14), ("divide", 3.5)]
)
async def test_calculate_knows_four_operations(
    http_server: RunningServer, operation: str, expected: float
) -> None:
    async with connect(http_server.url) as client:
        result = await client.call_tool("calculate", {"operation": operation, "a": 7, "b": 2})
    assert result.structured_content == {"result": expected}


@pytest.mark.parametrize(("tool", "arguments", "text"), MISTAKES)
async def test_a_mistake_is_a_tool_error_the_model_can_read(
    http_server: RunningServer, tool: str, arguments: dict[str, Any], text: str
) -> None:
    async with connect(http_server.url) as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert text in text_of(result)


async def test_progress_is_reported_step_by_step(target: str | StdioServerParameters) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async with connect(target) as client:
        arguments = {"steps": 3, "seconds": 0}
        result = await client.call_tool("slow_count", arguments, progress_callback=tell)
    assert result.structured_content == {"result": 3}
    assert told == [(1, 3, "1 of 3"), (2, 3, "2 of 3"), (3, 3, "3 of 3")]


def test_health_answers_without_a_session(http_server: RunningServer) -> None:
    answer = httpx2.get(f"http://localhost:{http_server.port}/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


def test_part_3s_readiness_probe_is_answered_at_the_pods_address(http_server: RunningServer) -> None:
    (server,) = load(parts_dir() / "03_toolhive" / "toolhive").of("MCPServer")
    probe = server.find("spec.podTemplateSpec.spec.containers.0.readinessProbe.httpGet")
    assert probe["port"] == server.find("spec.mcpPort")
    kubelet = {"Host": f"10.244.0.7:{probe['port']}"}
    answer = httpx2.get(f"http://localhost:{http_server.port}{probe['path']}", headers=kubelet)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "mcp-workshop:8000"}, 200),
        ({"Host": "mcp-workshop.toolhive-system.svc.cluster.local:8000"}, 200),
        ({"Host": "10.96.0.17:8000"}, 200),
        ({"Host": "[fd00::17]:8000"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "10.96.0.17.evil.example:8000"}, 421),
        ({"Host": "mcp-workshop.evil.example:8000"}, 421),
        ({"Host": "another-name:8000"}, 421),
        ({"Origin": "http://localhost:6274"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_only_our_own_names_are_answered(
    http_server: RunningServer, headers: dict[str, str], status: int
) -> None:
    answer = httpx2.post(http_server.url, json=INITIALIZE, headers=HEADERS | headers)
    assert answer.status_code == status


def test_further_hosts_are_admitted_by_name(start_server: StartServer) -> None:
    with start_server({"MCP_ALLOWED_HOSTS": "mcp-mine, another-name"}) as running:
        for host in ("mcp-mine:8000", "another-name"):
            answer = httpx2.post(running.url, json=INITIALIZE, headers=HEADERS | {"Host": host})
            assert answer.status_code == 200


@pytest.mark.parametrize(("told", "bound"), [("127.0.0.1", "127.0.0.1"), ("", "0.0.0.0")])
def test_an_empty_host_means_every_address_as_toolhive_needs_it(
    start_server: StartServer, told: str, bound: str
) -> None:
    with start_server({"MCP_HOST": told}) as running:
        (listening,) = [
            connection.laddr.ip
            for connection in psutil.Process(running.process.pid).net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        ]
    assert listening == bound


async def test_sigterm_ends_it_while_a_client_is_connected(start_server: StartServer) -> None:
    with start_server({}) as running:
        async with httpx2.AsyncClient() as http:
            opened = await http.post(running.url, json=INITIALIZE, headers=HEADERS)
            session = {"Mcp-Session-Id": opened.headers["mcp-session-id"], "Accept": "text/event-stream"}
            async with http.stream("GET", running.url, headers=session) as stream:
                assert stream.status_code == 200
                code, log = running.stop()
    assert code == -signal.SIGTERM
    assert "Traceback" not in log


def test_ctrl_c_ends_it_without_a_traceback(start_server: StartServer) -> None:
    with start_server({}) as running:
        code, log = running.stop(signal.SIGINT)
    assert code == 0
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"MCP_TRANSPORT": "carrier-pigeon"}, "MCP_TRANSPORT is `carrier-pigeon`; it must be one of stdio"),
        (
            {"MCP_TRANSPORT": "streamable-http", "MCP_PORT": "eighty"},
            "MCP_PORT is `eighty`; it must be a number",
        ),
        ({"MCP_TRANSPORT": "streamable-http", "MCP_PORT": "65536"}, "MCP_PORT is `65536`"),
        ({"MCP_TRANSPORT": "streamable-http", "MCP_PORT": ""}, "MCP_PORT is ``"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL is `loud`; it must be one of DEBUG, INFO, WARNING, ERROR"),
    ],
)
def test_a_wrong_setting_is_reported_in_one_line(
    server_script: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], says: str
) -> None:
    """A text as the code of SystemExit is what Python prints on stderr before it ends with 1."""
    monkeypatch.setattr(os, "environ", environment)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(server_script), run_name="__main__")
    assert str(ended.value.code).startswith(says)
    assert len(str(ended.value.code).splitlines()) == 1


def test_a_wrong_setting_ends_the_process_with_1(server_script: Path) -> None:
    ended = subprocess.run(
        [sys.executable, str(server_script)],
        env={"MCP_TRANSPORT": "carrier-pigeon"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("MCP_TRANSPORT is `carrier-pigeon`; it must be one of stdio")
    assert len(ended.stderr.splitlines()) == 1
