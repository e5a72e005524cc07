"""A remote server that hangs, drops, floods or never ends a line: bounded for us, unnoticed by others."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from aiohttp import web

from tests.load.processes import DEADLINE, Running, gateway
from tests.servers.gateway.harness import (
    DISCOVER,
    MCP_HEADERS,
    Site,
    configured,
    real_site,
    settings,
    upstream_of,
)
from workshop.auth.limits import Patience
from workshop.core.ports import free_port

MEGABYTE = 1 << 20
FLOOD = 256 * MEGABYTE
CHUNK = b"x" * (256 * 1024)
MOST_GROWTH = 64 * MEGABYTE
"""What buffers of two connections may cost, and the interpreter may keep; a fraction of what passes."""


@dataclass
class Remote:
    """Behaves by the `Mcp-Name` header of each request; counts what it could send."""

    sent: int = 0
    hanging: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        act = {"hang": self.hang, "drop": self.drop, "flood": self.flood, "line": self.line}
        named = act.get(request.headers.get("Mcp-Name", ""))
        return await named(request) if named else web.json_response({"jsonrpc": "2.0", "id": 1, "result": {}})

    async def hang(self, _: web.Request) -> web.StreamResponse:
        self.hanging.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()
        raise AssertionError("nothing sets the event")

    async def drop(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    async def flood(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        return await self._pour(request, response)

    async def line(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        return await self._pour(request, response)

    async def _pour(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        await response.prepare(request)
        self.sent = 0
        while self.sent < FLOOD:
            await response.write(CHUNK)
            self.sent += len(CHUNK)
        return response


def asking(behaviour: str) -> dict[str, Any]:
    return {"headers": {**MCP_HEADERS, "Mcp-Name": behaviour}, "json": DISCOVER}


def open_gate(folder: Path, upstream: str, tools: dict[str, Any] | None = None) -> dict[str, Any]:
    """A gateway without logins: the relay is the same, and the login has its own tests."""
    values = settings(folder, upstream=upstream, port=free_port())
    return {**values, "auth": None, "tools": tools}


@asynccontextmanager
async def proxied_upstream(
    folder: Path, tools: dict[str, Any] | None = None
) -> AsyncIterator[tuple[Site, Running, Remote]]:
    remote = Remote()
    async with (
        upstream_of(web.route("*", "/{path:.*}", remote.answer)) as url,
        gateway(folder, open_gate(folder, url, tools)) as (site, running),
    ):
        yield site, running, remote


async def others_are_served(site: Site, times: int = 20) -> None:
    answers = await asyncio.gather(*(site.http.post("/mcp", **asking("")) for _ in range(times)))
    assert {answer.status_code for answer in answers} == {200}


async def test_a_remote_server_that_hangs_is_given_up_on_within_the_bound(tmp_path: Path) -> None:
    remote = Remote()
    async with upstream_of(web.route("*", "/{path:.*}", remote.answer)) as url:
        config = configured(tmp_path, open_gate(tmp_path, url))
        async with real_site(config, patience=Patience(headers=3.0)) as site:
            answer = await asyncio.wait_for(site.http.post("/mcp", **asking("hang")), DEADLINE)
            assert answer.status_code == 504
            assert answer.json()["error"] == "gateway_timeout"
            await asyncio.wait_for(remote.left.wait(), DEADLINE)
            await others_are_served(site)


async def test_while_a_remote_server_hangs_others_are_served_and_leaving_ends_the_request(
    tmp_path: Path,
) -> None:
    async with proxied_upstream(tmp_path) as (site, running, remote):
        waiting = [asyncio.create_task(site.http.post("/mcp", **asking("hang"))) for _ in range(30)]
        await asyncio.wait_for(remote.hanging.wait(), DEADLINE)
        await others_are_served(site)
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.wait_for(remote.left.wait(), DEADLINE)
    assert "unforeseen" not in running.log.read_text("utf-8")


async def test_half_an_answer_is_never_taken_for_a_whole_one(tmp_path: Path) -> None:
    async with proxied_upstream(tmp_path) as (site, running, _):
        for _ in range(10):
            with pytest.raises(httpx2.RemoteProtocolError):
                await site.http.post("/mcp", **asking("drop"))
            await others_are_served(site, 5)
    log = running.log.read_text("utf-8")
    assert log.count("broke off") == 10
    assert "unforeseen" not in log


async def test_a_flood_passes_without_being_kept(tmp_path: Path) -> None:
    async with proxied_upstream(tmp_path) as (site, running, remote):
        await others_are_served(site)
        before, most, received = running.memory, 0, 0
        async with site.http.stream("POST", "/mcp", **asking("flood")) as answer:
            # Nobody reads yet: the remote server has to stop, while others go on.
            await others_are_served(site)
            assert remote.sent < MOST_GROWTH
            async for chunk in answer.aiter_raw():
                if received // (16 * MEGABYTE) != (received + len(chunk)) // (16 * MEGABYTE):
                    most = max(most, running.memory)
                    await others_are_served(site, 1)
                received += len(chunk)
        assert received == remote.sent == FLOOD
        assert most - before < MOST_GROWTH


async def test_a_line_that_never_ends_is_cut_where_tools_are_filtered(tmp_path: Path) -> None:
    async with proxied_upstream(tmp_path, {"filter": ["get_me"], "override": {}}) as (site, running, remote):
        await others_are_served(site)
        before = running.memory
        answer = await site.http.post("/mcp", **asking("line"))
        (data,) = [line for line in answer.text.splitlines() if line.startswith("data:")]
        error = {"code": -32603, "message": "internal error"}
        assert json.loads(data.removeprefix("data:")) == {
            "jsonrpc": "2.0",
            "id": DISCOVER["id"],
            "error": error,
        }
        assert answer.text.count("data:") == 1
        assert remote.sent < MOST_GROWTH
        assert running.memory - before < MOST_GROWTH
        await others_are_served(site)
    log = running.log.read_text("utf-8")
    assert "answer was withheld" in log
    assert "unforeseen" not in log
