"""The real MCP client, through the gateway, to a real MCP server, in both protocol eras."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import Context, MCPServer

from tests.servers.gateway.harness import (
    DEADLINE,
    NO_TLS,
    SignedIn,
    Site,
    configured,
    real_site,
    served,
    settings,
)
from workshop.auth.limits import Patience
from workshop.core.ports import free_port

ERAS = ["legacy", "2026-07-28"]


@dataclass
class Remote:
    """A server whose tools stop where a test wants to look."""

    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    def server(self) -> MCPServer:
        server = MCPServer("remote")

        @server.tool()
        async def halfway(ctx: Context) -> str:
            """Report progress, and go on only when the client has seen it."""
            await ctx.report_progress(1, 2, "half")
            await self.go_on.wait()
            return "done"

        @server.tool()
        async def wait_for_ever() -> str:
            """Never return."""
            self.waiting.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
            return "never"

        @server.tool()
        def echo(text: str) -> str:
            """Say it again."""
            return text

        return server


@dataclass
class Scenario:
    """A gateway with someone signed in, before a remote server."""

    gateway: Site
    signed_in: SignedIn
    remote: Remote

    @asynccontextmanager
    async def client(self, mode: str) -> AsyncIterator[Client]:
        async with httpx2.AsyncClient(headers=self.signed_in.bearer, verify=NO_TLS, timeout=DEADLINE) as http:
            transport = streamable_http_client(f"{self.gateway.url}/mcp", http_client=http)
            async with Client(transport, mode=mode) as client:
                yield client


@pytest.fixture
async def scenario(tmp_path: Path, practice: str) -> AsyncIterator[Scenario]:
    remote = Remote()
    async with served(remote.server().streamable_http_app(), free_port()) as url:
        values = settings(tmp_path, upstream=practice, port=free_port())
        values["remote_url"] = f"{url}/mcp"
        async with real_site(configured(tmp_path, values), patience=Patience()) as gateway:
            yield Scenario(gateway, await gateway.sign_in(), remote)


@pytest.mark.parametrize("mode", ERAS)
async def test_tools_are_listed_and_called(scenario: Scenario, mode: str) -> None:
    async with scenario.client(mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == [
            "halfway",
            "wait_for_ever",
            "echo",
        ]
        answer = await client.call_tool("echo", {"text": "überall 名前"})
        assert answer.structured_content == {"result": "überall 名前"}


@pytest.mark.parametrize("mode", ERAS)
async def test_progress_arrives_while_the_tool_still_runs(scenario: Scenario, mode: str) -> None:
    seen: list[str | None] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(message)
        scenario.remote.go_on.set()

    async with scenario.client(mode) as client:
        answer = await client.call_tool(
            "halfway", progress_callback=on_progress, read_timeout_seconds=DEADLINE
        )
    assert seen == ["half"]
    assert answer.structured_content == {"result": "done"}


@pytest.mark.parametrize("mode", ERAS)
async def test_a_cancelled_call_is_cancelled_at_the_remote_server(scenario: Scenario, mode: str) -> None:
    async with scenario.client(mode) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "wait_for_ever")
            await asyncio.wait_for(scenario.remote.waiting.wait(), DEADLINE)
            tasks.cancel_scope.cancel()
        await asyncio.wait_for(scenario.remote.cancelled.wait(), DEADLINE)
        # The connection to the server is as good as before.
        assert (await client.call_tool("echo", {"text": "on"})).structured_content == {"result": "on"}


async def test_a_client_that_vanishes_cancels_the_call_at_the_remote_server(scenario: Scenario) -> None:
    message = {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "tools/call",
        "params": {
            "name": "wait_for_ever",
            "arguments": {},
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    }
    headers = {
        **scenario.signed_in.bearer,
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "wait_for_ever",
    }
    async with httpx2.AsyncClient(verify=NO_TLS) as http:
        call = asyncio.create_task(http.post(f"{scenario.gateway.url}/mcp", json=message, headers=headers))
        await asyncio.wait_for(scenario.remote.waiting.wait(), DEADLINE)
        call.cancel()
        await asyncio.wait_for(scenario.remote.cancelled.wait(), DEADLINE)


async def test_many_calls_at_once_get_their_own_answers(scenario: Scenario) -> None:
    async with scenario.client("2026-07-28") as client:
        answers = await asyncio.gather(*(client.call_tool("echo", {"text": str(n)}) for n in range(30)))
    assert [answer.structured_content for answer in answers] == [{"result": str(n)} for n in range(30)]


@pytest.mark.parametrize("mode", ERAS)
async def test_the_practice_github_s_tools_work_through_the_gateway(
    tmp_path: Path, practice: str, mode: str
) -> None:
    values = settings(tmp_path, upstream=practice, port=free_port())
    values["header_forward"] = {"X-MCP-Readonly": "true"}
    async with real_site(configured(tmp_path, values), patience=Patience()) as gateway:
        scenario = Scenario(gateway, await gateway.sign_in("learner"), Remote())
        async with scenario.client(mode) as client:
            answer = await client.call_tool("get_me", {})
    assert not answer.is_error
    assert "learner" in str(answer.content)
