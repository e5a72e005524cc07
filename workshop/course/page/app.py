"""The page's server: on loopback, below a random path, for as long as `workshop open` runs."""

import asyncio
import contextlib
import hmac
import json
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import uvicorn
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from workshop.auth.guards import HostGuard
from workshop.core.encoding import csp_hash
from workshop.core.ports import bind_loopback
from workshop.core.serving import server_config
from workshop.course.lessons import Lesson, find_lessons
from workshop.course.page.content import TEMPLATES, changed_files, note_read, templates, update
from workshop.course.page.lesson import lesson_html
from workshop.recorder.live import page_open, read_live
from workshop.recorder.page import SCRIPT, STYLE, to_html

_STYLE, _SCRIPT = (
    shared + (TEMPLATES / name).read_text(encoding="utf-8")
    for shared, name in ((STYLE, "page.css"), (SCRIPT, "page.js"))
)
_POLICY = (
    f"default-src 'none'; style-src '{csp_hash(_STYLE)}'; script-src '{csp_hash(_SCRIPT)}'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_LOOK_SECONDS = 0.2
_LOOKS_BEFORE_COMMENT = 50
_MOST_STREAMS = 16
"""Pages that are followed at the same time; a browser opens six connections to a host at most."""


class CompanionPage:
    """The page of one `workshop open`: its address, and the application that serves it."""

    def __init__(self, lesson: Lesson, port: int, *, present: bool = False) -> None:
        self._token = secrets.token_urlsafe(24)
        self._lesson = lesson
        self._port = port
        self._present = present
        self._streams = 0

    @property
    def url(self) -> str:
        """The address with its token: whoever has it can read the page."""
        return f"http://localhost:{self._port}{self._base(self._lesson)}{'?present' if self._present else ''}"

    def app(self) -> HostGuard:
        """The application, which answers only as this machine and only below the token."""
        routes = [
            Route("/{token}/", self._guarded(self._home)),
            Route("/{token}/part/{number}", self._guarded(self._page)),
            Route("/{token}/part/{number}/events", self._guarded(self._events)),
            Route("/{token}/trace", self._guarded(self._trace)),
        ]
        return HostGuard(Starlette(routes=routes), None, port=self._port)

    async def serve(self, ready: Callable[[], Awaitable[None]]) -> None:
        """Serve until this is cancelled, and await `ready` first; raises PreflightError for a taken port."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # the terminal is the command's
        config = server_config(self.app())
        sockets = bind_loopback(self._port)
        with page_open():
            await ready()
            await _Server(config).serve(sockets=sockets)

    def _base(self, lesson: Lesson) -> str:
        return f"/{self._token}/part/{lesson.number}"

    def _guarded(
        self, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            given = request.path_params["token"].encode("utf-8", "surrogateescape")
            if not hmac.compare_digest(given, self._token.encode()):
                return _missing("This address is not the one that `workshop open` printed.")
            return await answer(request)

        return guarded

    async def _home(self, _request: Request) -> Response:
        return RedirectResponse(self._base(self._lesson), headers=_HEADERS)

    async def _page(self, request: Request) -> Response:
        lessons = find_lessons()
        lesson = _lesson(request)
        if lesson is None:
            return _missing("There is no such part.")
        present = "present" in request.query_params
        if not present:
            await asyncio.to_thread(note_read, lesson)
        base = self._base(lesson)
        page = (
            templates()
            .get_template("page.html")
            .render(
                lesson=lesson,
                text=lesson_html(lesson.readme, base),
                parts=[(one.number, one.heading, self._base(one)) for one in lessons],
                events=f"{base}/events",
                trace=f"/{self._token}/trace",
                present=present,
                page_style=Markup(_STYLE),  # noqa: S704 - our own file; escaping would change its hash
                script=Markup(_SCRIPT),  # noqa: S704 - our own file
            )
        )
        return HTMLResponse(page, headers={**_HEADERS, "Content-Security-Policy": _POLICY})

    async def _trace(self, _request: Request) -> Response:
        found = await asyncio.to_thread(read_live)
        if found is None:
            return _missing("Nothing has been recorded yet.")
        return HTMLResponse(
            to_html(found.trace), headers={**_HEADERS, "Content-Security-Policy": "frame-ancestors 'none'"}
        )

    async def _events(self, request: Request) -> Response:
        lesson = _lesson(request)
        if lesson is None:
            return _missing("There is no such part.")
        if self._streams >= _MOST_STREAMS:
            return PlainTextResponse("The page is open too often.", status_code=503, headers=_HEADERS)
        return StreamingResponse(self._stream(lesson), headers=_HEADERS, media_type="text/event-stream")

    async def _stream(self, lesson: Lesson) -> AsyncIterator[str]:
        with self._counted():
            async for event in changes(lesson):
                yield event

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the command line has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def changes(lesson: Lesson) -> AsyncGenerator[str]:
    """The whole content as server-sent events, then what changes, without an end."""
    known: dict[str, object] = {}
    looks = 0
    while True:
        files = changed_files(lesson)
        for name, paths in files.items():
            states = [_state(path) for path in paths]
            if name not in known or known[name] != states:
                known[name] = states
                content = await asyncio.to_thread(update, name, lesson)
                yield f"event: {name}\ndata: {json.dumps(content)}\n\n"
        looks += 1
        if looks % _LOOKS_BEFORE_COMMENT == 0:
            yield ": still here\n\n"  # a browser that has gone is noticed when something is written
        await asyncio.sleep(_LOOK_SECONDS)


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _lesson(request: Request) -> Lesson | None:
    number = request.path_params["number"]
    return next((lesson for lesson in find_lessons() if str(lesson.number) == number), None)


def _missing(text: str) -> Response:
    return PlainTextResponse(f"{text}\n", status_code=404, headers=_HEADERS)
