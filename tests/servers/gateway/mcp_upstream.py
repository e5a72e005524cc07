"""A remote MCP server that writes down what it was sent, and answers as a test says."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

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
