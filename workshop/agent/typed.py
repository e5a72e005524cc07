"""What a person types, while everything else goes on."""

import asyncio
import contextlib
import os
import sys
import threading


async def typed_line() -> str:
    """The next line from the terminal; empty at its end."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()

    def settle(text: str) -> None:
        if not answer.done():
            answer.set_result(text)

    def read() -> None:
        # Not `sys.stdin.read`: a thread that waits there holds a lock which the interpreter wants at its end.
        try:
            text = os.read(sys.stdin.fileno(), 1024).decode("utf-8", "replace")
        except (OSError, ValueError):
            text = ""
        with contextlib.suppress(RuntimeError):  # the loop may have ended before the person typed
            loop.call_soon_threadsafe(settle, text)

    threading.Thread(target=read, daemon=True).start()
    return await answer
