"""The bridge as a client starts it: a real process between the SDK's stdio client and part 4's gateway."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.environment import IsolatedInstance
from workshop.core.http_client import MOST_BYTES
from workshop.core.ports import free_port

INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


def url_of(instance: IsolatedInstance) -> str:
    return f"http://localhost:{instance.ports['github-remote']}/mcp"


@asynccontextmanager
async def bridged(instance: IsolatedInstance, *options: str, mode: str = "auto") -> AsyncIterator[Client]:
    """The SDK's client, whose server is `workshop bridge`."""
    words = ["-m", "workshop", "bridge", url_of(instance), *options]
    started = StdioServerParameters(
        command=sys.executable, args=words, env=instance.environment, cwd=instance.folder
    )
    async with Client(stdio_client(started), mode=mode) as client:
        yield client


def said(
    instance: IsolatedInstance, url: str, *lines: str, options: Sequence[str] = ("--no-browser",)
) -> subprocess.CompletedProcess[str]:
    """What the bridge answers to these lines, and a client that then closes its end."""
    with instance.begin("-m", "workshop", "bridge", url, *options) as bridge:
        output, errors = bridge.communicate("".join(f"{line}\n" for line in lines), timeout=60)
        return subprocess.CompletedProcess(["bridge", url], bridge.wait(), output, errors)


def request(number: int, method: str, **params: object) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


@pytest.mark.parametrize(("mode", "version"), [("legacy", "2025-11-25"), ("auto", "2026-07-28")])
async def test_a_client_lists_and_calls_through_it(
    running: IsolatedInstance, mode: str, version: str
) -> None:
    async with bridged(running, "--approve-as", "learner", mode=mode) as client:
        assert client.protocol_version == version
        assert "get_me" in [tool.name for tool in (await client.list_tools()).tools]
        (content,) = (await client.call_tool("get_me", {})).content
        assert json.loads(content.text)["login"] == "learner"  # type: ignore[union-attr]
    assert [login["resource"] for login in json.loads(running.run("login", "list", "--json").stdout)["data"]]


async def test_the_stored_login_needs_nobody_and_nothing_but_mcp_is_on_stdout(
    running: IsolatedInstance,
) -> None:
    """The bridge also ends with its client."""
    first = request(1, "initialize", **INITIALIZE)
    assert said(running, url_of(running), first, options=("--approve-as", "mentor")).returncode == 0
    async with bridged(running, "--no-browser") as client:
        (content,) = (await client.call_tool("get_me", {})).content
        assert json.loads(content.text)["login"] == "mentor"  # type: ignore[union-attr]
    done = said(
        running,
        url_of(running),
        first,
        "this is not JSON",
        request(2, "tools/call", name="get_me", arguments={}),
    )
    assert done.returncode == 0
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert {answer["id"]: "result" in answer for answer in answers} == {1: True, 2: True}
    assert done.stderr == ""


def test_a_line_without_end_is_refused(running: IsolatedInstance) -> None:
    done = said(running, url_of(running), "x" * (MOST_BYTES + 1))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: The client's message is too large\n")


def test_where_nothing_answers_each_request_is_reported(running: IsolatedInstance) -> None:
    url = f"http://localhost:{free_port()}/mcp"
    done = said(running, url, request(1, "initialize", **INITIALIZE), request(2, "tools/list"))
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["id"] for answer in answers] == [1, 2]
    assert all("Nothing answers" in answer["error"]["message"] for answer in answers)
    assert f"Nothing answers at {url}" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_shows_where_to_log_in_and_stops_when_it_is_asked_to(running: IsolatedInstance) -> None:
    with running.begin("-m", "workshop", "bridge", url_of(running), "--no-browser") as bridge:
        assert bridge.stdin
        assert bridge.stderr
        bridge.stdin.write(request(1, "initialize", **INITIALIZE) + "\n")
        bridge.stdin.flush()
        assert bridge.stderr.readline().startswith("Log in at http://localhost:")
        bridge.terminate()
        assert bridge.wait(60) == 130
        assert bridge.stdout
        assert bridge.stdout.read() == ""
