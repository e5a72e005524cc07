"""The page of `workshop open`: the lesson, and beside it what changes while the parts run."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from workshop.course.lessons import Lesson, find_lessons
from workshop.course.page.content import changed_files, note_read, update
from workshop.course.page.lesson import lesson_html
from workshop.course.page.server import HEADERS, Answer, PageServer, event, html, missing, script_of
from workshop.recorder.live import page_open, read_live
from workshop.recorder.page import SCRIPT, to_html

_SCRIPT = SCRIPT + script_of("page.js")
_LOOK_SECONDS = 0.2
_LOOKS_BEFORE_COMMENT = 50


class CompanionPage(PageServer):
    """The page of one `workshop open`: its address, and the application that serves it."""

    def __init__(self, lesson: Lesson, port: int, *, present: bool = False) -> None:
        super().__init__(port)
        self._lesson = lesson
        self._present = present

    @property
    def url(self) -> str:
        return (
            f"http://localhost:{self.port}{self._address(self._lesson)}{'?present' if self._present else ''}"
        )

    def routes(self) -> dict[str, Answer]:
        return {
            "/": self._home,
            "/part/{number}": self._page,
            "/part/{number}/events": self._events,
            "/trace": self._trace,
        }

    async def serve(self, ready: Callable[[], Awaitable[None]]) -> None:
        with page_open():
            await super().serve(ready)

    def _address(self, lesson: Lesson) -> str:
        return f"{self.base}/part/{lesson.number}"

    async def _home(self, _request: Request) -> Response:
        return RedirectResponse(self._address(self._lesson), headers=HEADERS)

    async def _page(self, request: Request) -> Response:
        lesson = _lesson(request)
        if lesson is None:
            return missing("There is no such part.")
        present = "present" in request.query_params
        if not present:
            await asyncio.to_thread(note_read, lesson)
        address = self._address(lesson)
        return html(
            "page.html",
            _SCRIPT,
            lesson=lesson,
            text=lesson_html(lesson.readme, address),
            parts=[(one.number, one.heading, self._address(one)) for one in find_lessons()],
            events=f"{address}/events",
            trace=f"{self.base}/trace",
            present=present,
        )

    async def _trace(self, _request: Request) -> Response:
        found = await asyncio.to_thread(read_live)
        if found is None:
            return missing("Nothing has been recorded yet.")
        policy = {"Content-Security-Policy": "frame-ancestors 'none'"}
        return HTMLResponse(to_html(found.trace), headers={**HEADERS, **policy})

    async def _events(self, request: Request) -> Response:
        lesson = _lesson(request)
        if lesson is None:
            return missing("There is no such part.")
        return self.streaming(changes(lesson))


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
                yield event(name, await asyncio.to_thread(update, name, lesson))
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
