"""A remote MCP server that writes down what it was sent, and answers as a test says; a gateway before it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.servers.gateway.harness import PATIENT, Site, configured, settings, site, upstream_of
from workshop.auth.limits import Patience

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Recorder:
    """The MCP endpoint of a small upstream; `answer` decides, the default is a plain result."""

    answer: Answer | None = None
    requests: list[tuple[str, str, list[tuple[str, str]], bytes]] = field(default_factory=list)

    def route(self) -> web.RouteDef:
        return web.route("*", "/{path:.*}", self._handle)

    @property
    def sent(self) -> dict[str, str]:
        """The headers of the only request, names in lower case."""
        ((_, _, headers, _),) = self.requests
        return {name.lower(): value for name, value in headers}

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append((request.method, request.path_qs, list(request.headers.items()), body))
        if self.answer is not None:
            return await self.answer(request)
        return web.json_response({"jsonrpc": "2.0", "id": 1, "result": {}})


CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


@asynccontextmanager
async def relaying(
    folder: Path,
    practice: str,
    answer: Answer | None = None,
    patience: Patience = PATIENT,
    **changes: Any,
) -> AsyncIterator[tuple[Site, Recorder]]:
    """A gateway in memory whose remote server is a recorder, with sign-in at the practice GitHub."""
    recorder = Recorder(answer)
    async with upstream_of(recorder.route()) as remote:
        values = settings(folder, upstream=practice)
        values |= {"remote_url": f"{remote}/mcp/?fixed=1", **changes}
        async with site(configured(folder, values), patience=patience) as gateway:
            yield gateway, recorder
