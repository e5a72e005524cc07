"""What the gateway benchmark relays to: a bare SDK server that takes only tokens of the practice GitHub.

Run by the benchmark: python -m tests.benchmarks.gateway_upstream --config FILE (the practice GitHub's own).
"""

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from mcp.server.mcpserver import MCPServer
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from workshop.core.ports import bind_loopback
from workshop.servers.practice import config as configuration
from workshop.servers.practice.app import create_app


class Upstream:
    """`/mcp` is the SDK server behind a token check; everything else is the practice GitHub."""

    def __init__(self, practice: Starlette, mcp: Starlette) -> None:
        self._practice = practice
        self._mcp = mcp
        self._tokens = practice.state.practice.tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/mcp":
            await self._practice(scope, receive, send)
        elif self._tokens.verify(Headers(scope=scope).get("authorization", "").removeprefix("Bearer ")):
            await self._mcp(scope, receive, send)
        else:
            await Response(status_code=401)(scope, receive, send)


def _application(path: Path) -> ASGIApp:
    server = MCPServer("upstream", log_level="WARNING")

    @server.tool()
    def echo(text: str) -> str:
        """Say it again."""
        return text

    practice, mcp = create_app(configuration.load(path)), server.streamable_http_app()

    @asynccontextmanager
    async def both(_: Starlette) -> AsyncIterator[None]:
        async with practice_lifespan(practice), mcp.router.lifespan_context(mcp):
            yield

    practice_lifespan, practice.router.lifespan_context = practice.router.lifespan_context, both
    return Upstream(practice, mcp)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    path = parser.parse_args().config
    # Plain uvicorn, which is what `MCPServer.run` uses.
    server = uvicorn.Server(uvicorn.Config(_application(path), log_config=None, access_log=False))
    asyncio.run(server.serve(sockets=bind_loopback(configuration.load(path).port)))


if __name__ == "__main__":
    main()
