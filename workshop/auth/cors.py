"""Cross-origin requests (CORS) of MCP clients that are web pages on this computer, as the Inspector is."""

import re
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

# http, because a loopback address seldom has a certificate. `null` (files, sandboxed frames) is no address.
_LOOPBACK_ORIGIN = re.compile(r"http://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?")
_PUBLIC = "/.well-known/"


class Cors:
    """Lets pages of other loopback origins read the answers at some paths, without cookies.

    Starlette's CORSMiddleware gets only requests from such pages. Their Origin header is removed from what it
    passes on, because the check of Origin that follows refuses every other page, and every other path.
    """

    def __init__(self, app: ASGIApp, paths: Iterable[str]) -> None:
        """`paths` are exact; metadata below `/.well-known/` is public, so it is always among them."""
        self._app = app
        self._paths = frozenset(paths)
        self._readable = CORSMiddleware(
            self._without_origin,
            allow_origin_regex=_LOOPBACK_ORIGIN.pattern,
            allow_methods=("GET", "HEAD", "POST", "DELETE"),
            # The names of `Mcp-…` headers and of a credential of one's own are not known beforehand.
            allow_headers=("*",),
            expose_headers=("Mcp-Session-Id", "WWW-Authenticate"),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._is_readable(scope):
            await self._readable(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_readable(self, scope: Scope) -> bool:
        path: str = scope["path"]
        is_public = path.startswith(_PUBLIC)
        if not is_public and b"origin" not in [name for name, _ in scope["headers"]]:
            return False  # most requests
        headers = Headers(scope=scope)
        origins = headers.getlist("origin")
        if not origins or origins == [f"http://{headers.get('host', '')}"]:
            return is_public and not origins  # for `Vary: Origin`: caches keep these answers
        is_loopback = len(origins) == 1 and _LOOPBACK_ORIGIN.fullmatch(origins[0]) is not None
        return is_loopback and (is_public or path in self._paths)

    async def _without_origin(self, scope: Scope, receive: Receive, send: Send) -> None:
        rest = [pair for pair in scope["headers"] if pair[0].lower() != b"origin"]
        await self._app({**scope, "headers": rest}, receive, send)
