"""Cancel the relay's work when the client disconnects or its sign-in ends."""

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

from starlette.types import Receive

# Most calls are answered sooner and do not need a second task that watches for the client to disconnect.
_UNWATCHED_SECONDS = 0.05


async def while_connected(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Run `work`; cancel it when the client disconnects, which is how MCP 2026-07-28 cancels a request."""
    watch = _Watch(receive)
    try:
        await work
    except asyncio.CancelledError:
        if not watch.client_left:
            raise
    finally:
        watch.end()


class _Watch:
    """Cancels the current task when the client disconnects."""

    def __init__(self, receive: Receive) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("there is no task to cancel")
        self.client_left = False
        self._task = task
        self._receive = receive
        self._watching: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(_UNWATCHED_SECONDS, self._start)

    def end(self) -> None:
        """Stop watching, and undo a cancellation that this object requested."""
        self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()
        if self.client_left:
            self._task.uncancel()

    def _start(self) -> None:
        self._watching = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.client_left = True
        self._task.cancel()


class AdmissionLostError(Exception):
    """The sign-in ended while its answer was still being sent."""


class WhileAdmitted:
    """Runs a block, and calls `admitted` every so many seconds.

    Raises AdmissionLostError once that is False: an open stream ends at most that long after its revocation.
    """

    def __init__(self, admitted: Callable[[], bool], every: float) -> None:
        self._admitted = admitted
        self._every = every
        self._lost = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("there is no task to cancel")
        self._task, self._cancelled_before = task, task.cancelling()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(self._every, self._look)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        # As `asyncio.Timeout` does: a cancellation by another task continues.
        if (
            self._lost
            and self._task.uncancel() <= self._cancelled_before
            and isinstance(error, asyncio.CancelledError)
        ):
            raise AdmissionLostError from error

    def _look(self) -> None:
        if self._admitted():
            self._timer = self._loop.call_later(self._every, self._look)
        else:
            self._lost = True
            self._task.cancel()
