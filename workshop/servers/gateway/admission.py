"""An answer goes on for as long as its sign-in exists, and no longer."""

import asyncio
from collections.abc import Callable
from types import TracebackType


class AdmissionLostError(Exception):
    """The sign-in ended while its answer was still being sent."""


class WhileAdmitted:
    """Runs a block, asking `admitted` every so many seconds.

    Raises AdmissionLostError once it says no: an open stream ends at most that long after its revocation.
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
        # As `asyncio.Timeout` does: somebody else's cancellation goes on.
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
