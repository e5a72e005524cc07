"""Cancel the relay's work: when the client disconnects, its sign-in ends, or the upstream does not answer."""

import asyncio
from collections.abc import Callable, Coroutine
from enum import Enum, auto
from typing import Any

from starlette.types import Receive

# Most calls are answered sooner: one timer is all that they need, and no task that watches their client.
_UNWATCHED_SECONDS = 0.05


class AdmissionLostError(Exception):
    """The sign-in ended while its answer was still being sent."""


class _Ending(Enum):
    LEFT = auto()
    SLOW = auto()
    REVOKED = auto()


class Watch:
    """Runs the relay's work, and cancels it for one of three reasons.

    The client disconnects, which is how MCP 2026-07-28 cancels a request; no answer begins within
    `head_seconds` of `asked`; or, from `answering` on, `admitted` is False, which is looked at `every` so
    many seconds: an open stream ends at most that long after its revocation.
    """

    def __init__(
        self, receive: Receive, admitted: Callable[[], bool], *, head_seconds: float, every: float
    ) -> None:
        self._receive = receive
        self._admitted = admitted
        self._head_seconds = head_seconds
        self._every = every
        self._loop = asyncio.get_running_loop()
        self._due: float | None = None
        """When to look next; the time of the event loop."""
        self._is_answering = False
        self._ending: _Ending | None = None
        self._watching: asyncio.Task[None] | None = None

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Raises TimeoutError for no answer, and AdmissionLostError; returns if the client disconnects."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("there is no task to cancel")
        self._task, cancelled_before = task, task.cancelling()
        self._timer: asyncio.Handle = self._loop.call_later(_UNWATCHED_SECONDS, self._begin)
        ours = False
        try:
            await work
        except asyncio.CancelledError:
            # As `asyncio.Timeout` does: a cancellation by another task continues.
            ours = self._ending is not None and task.cancelling() - 1 <= cancelled_before
            if not ours:
                raise
        finally:
            self._timer.cancel()
            if self._watching is not None:
                self._watching.cancel()
            if self._ending is not None:
                task.uncancel()
        if ours and self._ending is _Ending.SLOW:
            raise TimeoutError
        if ours and self._ending is _Ending.REVOKED:
            raise AdmissionLostError

    def asked(self) -> None:
        """The upstream has the request, from now on."""
        self._due = self._loop.time() + self._head_seconds
        self._set_timer()

    def answering(self) -> None:
        """The upstream's answer has begun."""
        self._is_answering = True
        self._due = self._loop.time() + self._every
        self._set_timer()

    def _begin(self) -> None:
        self._watching = asyncio.create_task(self._wait())
        self._set_timer()

    def _set_timer(self) -> None:
        if self._watching is not None and self._due is not None:
            self._timer.cancel()
            self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        if not self._is_answering:
            self._end(_Ending.SLOW)
        elif self._admitted():
            self.answering()
        else:
            self._end(_Ending.REVOKED)

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._end(_Ending.LEFT)

    def _end(self, why: _Ending) -> None:
        if self._ending is None:
            self._ending = why
            self._task.cancel()
