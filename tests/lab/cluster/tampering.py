"""A proxy that passes everything on, except for the one answer a test wants to be wrong."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

_HOP = {"transfer-encoding", "content-length", "connection", "content-encoding", "date"}


@dataclass
class Tampering:
    """Answers for `target`; `answers` replaces the answer at a path, `changes` edits a JSON one."""

    target: str
    mcp_target: str = ""
    answers: dict[str, Response] = field(default_factory=dict)
    changes: dict[str, Callable[[Any], Any]] = field(default_factory=dict)

    def app(self) -> ASGIApp:
        methods = ["GET", "POST", "DELETE"]
        return Starlette(routes=[Route("/{path:path}", self._pass, methods=methods)])

    async def _pass(self, request: Request) -> Response:
        path = request.url.path
        if path in self.answers:
            return self.answers[path]
        url = self.mcp_target if self.mcp_target and path == "/mcp" else f"{self.target}{path}"
        headers = [(name, value) for name, value in request.headers.items() if name != "host"]
        async with httpx2.AsyncClient(timeout=60) as http:
            answer = await http.request(
                request.method,
                url,
                params=request.query_params,
                headers=headers,
                content=await request.body(),
            )
        if path in self.changes and answer.content:
            return JSONResponse(self.changes[path](answer.json()), answer.status_code)
        response = Response(answer.content, answer.status_code)
        kept = [pair for pair in answer.headers.multi_items() if pair[0].lower() not in _HOP]
        response.raw_headers += [(name.lower().encode(), value.encode()) for name, value in kept]
        return response
