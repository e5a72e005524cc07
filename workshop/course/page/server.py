"""What serves a page on loopback, below a random path, for as long as its command runs."""

import contextlib
import functools
import hmac
import json
import logging
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import uvicorn
from jinja2 import Environment
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from workshop.auth.guards import HostGuard
from workshop.core.encoding import csp_hash
from workshop.core.pages import page_environment
from workshop.core.ports import bind_loopback
from workshop.core.serving import server_config
from workshop.recorder.page import STYLE

# The address is the password of the page: no other site may embed it, read it or learn it.
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
TEMPLATES = Path(__file__).with_name("templates")
_STYLE = STYLE + (TEMPLATES / "page.css").read_text(encoding="utf-8")
_MOST_STREAMS = 16
"""Pages that are followed at the same time; a browser opens six connections to a host at most."""

Answer = Callable[[Request], Awaitable[Response]]
Update = Mapping[str, Any]


@functools.cache
def templates() -> Environment:
    """The templates of the pages."""
    return page_environment(TEMPLATES)


class PageServer(ABC):
    """A page of one command: below its token, its routes answer only requests of this machine."""

    command = "workshop open"

    def __init__(self, port: int) -> None:
        # Other users of this machine reach the port, too, but cannot guess the path.
        self.base = f"/{secrets.token_urlsafe(24)}"
        self.port = port
        self._streams = 0

    @property
    def url(self) -> str:
        """The address with its token: it is the password of the page."""
        return f"http://localhost:{self.port}{self.base}/"

    @abstractmethod
    def routes(self) -> dict[str, Answer]:
        """What answers, by the path below the token."""

    def app(self) -> HostGuard:
        """The application, which answers only as this machine and only below the token."""
        routes = [Route(f"/{{token}}{path}", self._guarded(answer)) for path, answer in self.routes().items()]
        return HostGuard(Starlette(routes=routes), None, port=self.port)

    async def serve(self, ready: Callable[[], Awaitable[None]]) -> None:
        """Serve until this is cancelled, and await `ready` first; raises PreflightError for a taken port."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # the terminal is the command's
        config = server_config(self.app())
        sockets = bind_loopback(self.port)
        await ready()
        await _Server(config).serve(sockets=sockets)

    def streaming(self, events: AsyncIterator[str]) -> Response:
        """Server-sent events without an end; 503 if the page is open too often."""
        if self._streams >= _MOST_STREAMS:
            return PlainTextResponse("The page is open too often.", status_code=503, headers=HEADERS)
        return StreamingResponse(self._counted(events), headers=HEADERS, media_type="text/event-stream")

    def _guarded(self, answer: Answer) -> Answer:
        async def guarded(request: Request) -> Response:
            given = request.path_params["token"].encode("utf-8", "surrogateescape")
            if not hmac.compare_digest(given, self.base[1:].encode()):
                return missing(f"This address is not the one that `{self.command}` printed.")
            return await answer(request)

        return guarded

    async def _counted(self, events: AsyncIterator[str]) -> AsyncIterator[str]:
        self._streams += 1
        try:
            async for event in events:
                yield event
        finally:
            self._streams -= 1


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the command line has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def html(template: str, script: str, **values: object) -> Response:
    """An HTML page, with a policy that allows only its own style and script, and events of its server."""
    policy = (
        f"default-src 'none'; style-src '{csp_hash(_STYLE)}'; script-src '{csp_hash(script)}'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    page = (
        templates()
        .get_template(template)
        .render(
            page_style=Markup(_STYLE),  # noqa: S704 - our own file; escaping would change its hash
            script=Markup(script),  # noqa: S704 - our own file
            **values,
        )
    )
    return HTMLResponse(page, headers={**HEADERS, "Content-Security-Policy": policy})


def event(name: str, content: object) -> str:
    """A server-sent event whose data is JSON."""
    # Without an indent JSON is one line, as the `data` of an event must be.
    return f"event: {name}\ndata: {json.dumps(content)}\n\n"


def missing(text: str) -> Response:
    """A 404 with one sentence."""
    return PlainTextResponse(f"{text}\n", status_code=404, headers=HEADERS)


def script_of(name: str) -> str:
    """The text of one of our scripts."""
    return (TEMPLATES / name).read_text(encoding="utf-8")
