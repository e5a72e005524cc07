"""An answer goes on for as long as its sign-in exists, and no longer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class AdmissionLostError(Exception):
    """The sign-in ended while its answer was still being sent."""


@asynccontextmanager
async def while_admitted(admitted: Callable[[], bool], every: float) -> AsyncIterator[None]:
    """Run the block, asking `admitted` every so many seconds.

    Raises AdmissionLostError once it says no: an open stream ends at most that long after its revocation.
    """
    deadline = asyncio.timeout(None)
    looking = _Looking(admitted, every, deadline)
    try:
        async with deadline:
            yield
    except TimeoutError as error:
        if deadline.expired():
            raise AdmissionLostError from error
        raise
    finally:
        looking.end()


class _Looking:
    """Asks again and again; a no makes the deadline now."""

    def __init__(self, admitted: Callable[[], bool], every: float, deadline: asyncio.Timeout) -> None:
        self._loop = asyncio.get_running_loop()
        self._admitted = admitted
        self._every = every
        self._deadline = deadline
        self._timer = self._loop.call_later(every, self._look)

    def end(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        if self._admitted():
            self._timer = self._loop.call_later(self._every, self._look)
        else:
            self._deadline.reschedule(self._loop.time())
