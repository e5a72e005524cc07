"""The page of `workshop room status --page`: the state of a room for a second screen."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable

from starlette.requests import Request
from starlette.responses import Response

from workshop.core.errors import WorkshopError
from workshop.course.page.server import Answer, PageServer, Update, event, html, script_of, templates
from workshop.lab.room.status import RoomStatus, ago

_SCRIPT = script_of("room.js")
_LOOK_SECONDS = 5.0


class RoomPage(PageServer):
    """The page of one room; `look` reads its state, for all who have the page open once in a few seconds."""

    command = "workshop room status --page"

    def __init__(self, room: str, look: Callable[[], RoomStatus], port: int) -> None:
        super().__init__(port)
        self._room = room
        self._look = look
        self._looking = asyncio.Lock()
        self._looked = float("-inf")
        self._last: RoomStatus | None = None
        self._silence = ""

    def routes(self) -> dict[str, Answer]:
        return {"/": self._page, "/events": self._events}

    async def _page(self, _request: Request) -> Response:
        return html("room.html", _SCRIPT, room=self._room, events=f"{self.base}/events")

    async def _events(self, _request: Request) -> Response:
        return self.streaming(self._changes())

    async def _changes(self) -> AsyncGenerator[str]:
        known: Update | None = None
        while True:
            now = await self._update()
            yield event("room", now) if now != known else ": still here\n\n"
            known = now
            await asyncio.sleep(_LOOK_SECONDS)

    async def _update(self) -> Update:
        """The present content: that of the last good look, with a note while the cluster does not answer."""
        # However many pages are open, the cluster is asked once.
        async with self._looking:
            if time.monotonic() - self._looked >= _LOOK_SECONDS:
                try:
                    self._last, self._silence = await asyncio.to_thread(self._look), ""
                except WorkshopError as error:
                    self._silence = error.what
                self._looked = time.monotonic()
        values = {"room": self._last, "silence": self._silence, "ago": ago}
        return {"html": templates().get_template("seats.html").render(values)}
