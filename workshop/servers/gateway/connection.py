"""Work that ends when the client goes away."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.types import Receive

# Most calls are answered sooner, and need no second task to listen for the client's leave.
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
    """Cancels the current task when the client leaves."""

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
        """Stop watching; a cancellation that was ours is over."""
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
