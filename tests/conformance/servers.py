"""The real programs that are judged, each a process of its own, and a hop that carries a bearer token."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.servers.gateway.harness import configured
from workshop.core.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
_READY = b"Uvicorn running on"
_GATEWAY_READY = b"startup complete"
_SECONDS = 100
_HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "upgrade", "te", "trailer")


@asynccontextmanager
async def program(
    *command: str, ready: bytes = _READY, environment: Mapping[str, str] | None = None
) -> AsyncIterator[None]:
    """A Python program that serves, from the line that says so until the end of the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *command),
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=DEVNULL,
        stderr=PIPE,
    )
    assert process.stderr
    written: list[bytes] = []
    try:
        async with asyncio.timeout(_SECONDS):
            while not written or ready not in written[-1]:
                written.append(await process.stderr.readline())
                assert written[-1], b"".join(written).decode()
        draining = asyncio.create_task(process.stderr.read())
        yield
        draining.cancel()
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def everything() -> AsyncIterator[str]:
    """The server that has every fixture."""
    port = free_port()
    async with program("-m", "tests.conformance.everything", str(port)):
        yield f"http://localhost:{port}/mcp"


@asynccontextmanager
async def lesson_server() -> AsyncIterator[str]:
    """The server of part 2, over HTTP as in part 3."""
    port = free_port()
    told = {"MCP_TRANSPORT": "streamable-http", "MCP_PORT": str(port), "LOG_LEVEL": "INFO"}
    async with program(str(ROOT / "parts/02_local_mcp/server.py"), environment=told):
        yield f"http://localhost:{port}/mcp"


@asynccontextmanager
async def gateway(folder: Path, values: dict[str, Any]) -> AsyncIterator[str]:
    """The gateway with this configuration; gives its issuer's address."""
    port = configured(folder, values).port
    path = str(folder / "gateway.json")
    async with program("-m", "workshop.servers.gateway", "--config", path, ready=_GATEWAY_READY):
        yield f"http://localhost:{port}"


@asynccontextmanager
async def bearer_hop(target: str, token: str) -> AsyncIterator[str]:
    """A hop of our own before `target`, for judges that cannot send a token: it adds one and nothing else.

    Its own address becomes the target's in Host and Origin; any other passes, for the target to judge.
    """
    port = free_port()

    async def carry(request: web.Request) -> web.StreamResponse:
        headers = _without_framing(request.headers)
        for name in ("Host", "Origin"):
            if name in headers:
                headers[name] = headers[name].replace(f"localhost:{port}", target.partition("//")[2])
        headers["Authorization"] = f"Bearer {token}"
        body = await request.read()
        async with http.request(
            request.method,
            target + request.path_qs,
            headers=headers,
            data=body or None,
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status, headers=_without_framing(answer.headers))
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            return response

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", carry)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    no_limit = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(auto_decompress=False, timeout=no_limit) as http:
        await runner.setup()
        await web.TCPSite(runner, "localhost", port).start()
        with contextlib.suppress(asyncio.CancelledError):
            yield f"http://localhost:{port}"
        await runner.cleanup()


def _without_framing(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
