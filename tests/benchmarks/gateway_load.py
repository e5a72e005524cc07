"""Load for the gateway benchmark: one tool call over and over, as raw HTTP and with the SDK's client."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp
import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from tests.servers.gateway.harness import NO_TLS

MODERN, LEGACY = "2026-07-28", "2025-11-25"
_WORD = "pong"
_SECONDS = 30.0
_META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}
_ECHO = {"name": "echo", "arguments": {"text": _WORD}}
_HELLO = {
    "protocolVersion": LEGACY,
    "capabilities": {},
    "clientInfo": {"name": "benchmark", "version": "1"},
}


@dataclass
class Call:
    """One tool call, over and over, on a connection of its own."""

    ask: Callable[[], Awaitable[bool]]
    """Whether the answer was the right one."""
    wrong: int = 0

    async def __call__(self) -> None:
        if not await self.ask():
            self.wrong += 1


@dataclass(frozen=True)
class Target:
    """An MCP endpoint and the token that opens it."""

    name: str
    url: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@asynccontextmanager
async def raw(target: Target, era: str) -> AsyncIterator[Call]:
    """Call with nothing but an HTTP client (aiohttp, the fastest at hand) on one kept-alive connection."""
    headers = {
        **target.headers,
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": era,
    }
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as http:
        params: dict[str, object] = dict(_ECHO)
        if era == MODERN:
            params["_meta"] = _META
            http.headers.update({"Mcp-Method": "tools/call", "Mcp-Name": "echo"})
        else:
            hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": _HELLO}
            session, _ = await _post(http, target.url, hello)
            http.headers["Mcp-Session-Id"] = session
            await _post(http, target.url, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}

        async def ask() -> bool:
            _, answer = await _post(http, target.url, message)
            return _WORD.encode() in answer

        yield Call(ask)


async def _post(http: aiohttp.ClientSession, url: str, message: object) -> tuple[str, bytes]:
    async with http.post(url, json=message, timeout=aiohttp.ClientTimeout(_SECONDS)) as response:
        return response.headers.get("mcp-session-id", ""), await response.read()


@asynccontextmanager
async def sdk(target: Target, era: str) -> AsyncIterator[Call]:
    """Call with the SDK's client, as agents do."""
    mode = MODERN if era == MODERN else "legacy"
    async with (
        httpx2.AsyncClient(headers=target.headers, verify=NO_TLS, timeout=_SECONDS) as http,
        Client(streamable_http_client(target.url, http_client=http), mode=mode) as client,
    ):

        async def ask() -> bool:
            try:
                answer = await client.call_tool("echo", {"text": _WORD})
            except MCPError:
                return False
            return bool(answer.structured_content == {"result": _WORD})

        yield Call(ask)


CLIENTS = {"raw HTTP": raw, "SDK client": sdk}


async def in_turn(calls: Mapping[str, Call], seconds: float) -> dict[str, list[float]]:
    """The milliseconds of each path's calls: one call of each path, in another order each time.

    It takes about `seconds` for each path; at least two calls of each.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    end = time.perf_counter() + seconds * len(order)
    while any(len(each) < 2 for each in taken.values()) or time.perf_counter() < end:
        random.shuffle(order)
        for name in order:
            began = time.perf_counter()
            await calls[name]()
            taken[name].append((time.perf_counter() - began) * 1000)
    return taken


@asynccontextmanager
async def connections(client: str, target: Target, era: str, count: int) -> AsyncIterator[list[Call]]:
    """`count` clients that are ready to call."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(CLIENTS[client](target, era)) for _ in range(count)]


async def at_once(calls: list[Call], seconds: float) -> tuple[int, float]:
    """How many calls all connections together complete, at least one each, and in how many seconds."""
    began = time.perf_counter()

    async def repeat(call: Call) -> int:
        count = 0
        while not count or time.perf_counter() < began + seconds:
            await call()
            count += 1
        return count

    return sum(await asyncio.gather(*map(repeat, calls))), time.perf_counter() - began


async def total(calls: list[Call], count: int) -> None:
    """`count` calls, spread over the connections."""
    left = iter(range(count))

    async def work(call: Call) -> None:
        for _ in left:
            await call()

    await asyncio.gather(*(work(call) for call in calls))
