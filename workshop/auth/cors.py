"""Cross-origin requests (CORS) of MCP clients that are web pages on this computer, as the Inspector is."""

import re
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# http, because a loopback address seldom has a certificate. `null` (files, sandboxed frames) is no address.
_LOOPBACK_ORIGIN = re.compile(r"http://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?")
_HEADER_NAMES = re.compile(r"[A-Za-z0-9, -]{1,1000}")
_PUBLIC = "/.well-known/"
_METHODS = "GET, HEAD, POST, DELETE"
_EXPOSED = "Mcp-Session-Id, WWW-Authenticate"


class Cors:
    """Lets pages of other loopback origins read the answers at some paths, without cookies.

    It answers their preflights (Fetch standard, CORS protocol), and removes their Origin header from what it
    passes on: the check of Origin that follows refuses every other page, and every other path.
    """

    def __init__(self, app: ASGIApp, paths: Iterable[str]) -> None:
        """`paths` are exact; metadata below `/.well-known/` is public, so it is always among them."""
        self._app = app
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._covers(scope["path"]):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = _loopback_page(headers)
        if origin is None:
            cacheable = scope["path"].startswith(_PUBLIC)
            await self._app(scope, receive, _marked(send, None) if cacheable else send)
        elif scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await _preflight(headers)(scope, receive, _marked(send, origin))
        else:
            rest = [pair for pair in scope["headers"] if pair[0].lower() != b"origin"]
            await self._app({**scope, "headers": rest}, receive, _marked(send, origin))

    def _covers(self, path: str) -> bool:
        return path in self._paths or path.startswith(_PUBLIC)


def _loopback_page(headers: Headers) -> str | None:
    """The one Origin of a request if it is loopback; None for the server's own, which needs no permission."""
    origins = headers.getlist("origin")
    if len(origins) != 1 or not _LOOPBACK_ORIGIN.fullmatch(origins[0]):
        return None
    return None if origins[0] == f"http://{headers.get('host', '')}" else origins[0]


def _preflight(headers: Headers) -> Response:
    answer = {"access-control-allow-methods": _METHODS, "access-control-max-age": "600"}
    asked = headers.get("access-control-request-headers", "")
    if _HEADER_NAMES.fullmatch(asked):
        # `Authorization`, `Mcp-…` and a credential of one's own have no names that can be listed beforehand.
        answer["access-control-allow-headers"] = asked
    return Response(status_code=204, headers=answer)


def _marked(send: Send, origin: str | None) -> Send:
    """A `send` that lets `origin` read the answer, and keeps caches from giving it to another one."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if "origin" not in headers.get("vary", "").lower():
                headers.add_vary_header("Origin")
            if origin:
                headers["access-control-allow-origin"] = origin
                headers["access-control-expose-headers"] = _EXPOSED
        await send(message)

    return sending
