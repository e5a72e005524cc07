"""Record HTTP without changing it; the recording contains secrets and stays in memory."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

import httpx2

from workshop.recorder.model import MOST_BODY, Request

MOST_REQUESTS = 1000  # a loop of the agent must not fill the memory
_TRIES, _CLOSE = 20, 0.0002  # seconds

Hook = Callable[[Any], Coroutine[Any, Any, None]]


class Recorder:
    """Collects requests and notes, in the order they began."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.notes: list[tuple[float, str]] = []
        self.secrets: list[str] = []
        self.dropped = 0
        self.changed: Callable[[], None] = lambda: None
        """Called after each request, each answer, and the end of each answer's body."""
        self.began, self._zero = _now()
        # Weak, so that a request without an answer is forgotten when its client is.
        self._open: WeakKeyDictionary[httpx2.Request, Request] = WeakKeyDictionary()

    def clock(self) -> float:
        """Seconds since the recording began."""
        return time.monotonic() - self._zero

    def hooks(self, sender: str) -> tuple[Hook, Hook]:
        """Event hooks for an HTTP client of `sender`: one for each request, one for each response."""

        async def requested(request: httpx2.Request) -> None:
            self._requested(sender, request)

        async def responded(response: httpx2.Response) -> None:
            self._responded(response)

        return requested, responded

    def note(self, text: str) -> None:
        """Record something that happened between the requests."""
        self.notes.append((self.clock(), text))
        self.changed()

    def received(self, url: str, status: int) -> None:
        """Record a browser's request to the agent's listener, and the status of the response."""
        now = self.clock()
        self._add(Request("browser", "GET", url, now, "listener", status=status, answered=now, ended=now))

    def built(self, url: str) -> None:
        """Record that the agent built an address for the browser, whose requests cannot be recorded."""
        self._add(Request("browser", "GET", url, self.clock(), "built"))

    def remembered(self, request: httpx2.Request, response: httpx2.Response) -> None:
        """Record a request that was answered from the agent's cache and not sent."""
        now = self.clock()
        recorded = Request("agent", request.method, str(request.url), now, "memory", answered=now, ended=now)
        recorded.status, recorded.reason = response.status_code, response.reason_phrase
        recorded.take(response.content)
        self._add(recorded)

    def _add(self, request: Request) -> None:
        if len(self.requests) < MOST_REQUESTS:
            self.requests.append(request)
        else:
            self.dropped += 1
        self.changed()

    def _requested(self, sender: str, request: httpx2.Request) -> None:
        recorded = Request(sender, request.method, str(request.url), self.clock())
        recorded.request_headers = request.headers.multi_items()
        # Reading a streamed body here would use it up.
        with contextlib.suppress(httpx2.RequestNotRead):
            recorded.request_body = request.content[:MOST_BODY]
        self._open[request] = recorded
        self._add(recorded)

    def _responded(self, response: httpx2.Response) -> None:
        request = self._open.pop(response.request, None)
        if request is None:
            return
        request.answered = self.clock()
        request.status, request.reason = response.status_code, response.reason_phrase
        request.http_version = response.http_version
        request.response_headers = response.headers.multi_items()
        # The body has not arrived yet: what is read later is copied on its way.
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _CopiedStream(response.stream, request, self._ended)
        self.changed()

    def _ended(self, request: Request) -> None:
        if request.ended is None:
            request.ended = self.clock()
            self.changed()


def _now() -> tuple[datetime, float]:
    """The time of day and the monotonic clock at the same moment.

    An upstream's record has the time of day. If this process paused between the two, the upstream's requests
    would be shown outside the request that caused them.
    """
    for _ in range(_TRIES):
        before, now, after = time.monotonic(), datetime.now(UTC), time.monotonic()
        if after - before < _CLOSE:
            break
    return now, before


class _CopiedStream(httpx2.AsyncByteStream):
    """A response's stream that copies each chunk into a request and passes it on at once, unchanged."""

    def __init__(
        self, stream: httpx2.AsyncByteStream, request: Request, ended: Callable[[Request], None]
    ) -> None:
        self._stream = stream
        self._request = request
        self._ended = ended

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            self._request.take(chunk)
            yield chunk
        self._ended(self._request)

    # A client may close a stream before its end, such as one of events.
    async def aclose(self) -> None:
        self._ended(self._request)
        await self._stream.aclose()
