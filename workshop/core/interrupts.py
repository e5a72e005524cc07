"""Ctrl-C: the first one stops the command and cleans up, a second one exits at once."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from workshop.core.errors import INTERRUPTED

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from workshop.core.console import Console

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_SHOW_CURSOR = "\x1b[?25h"
T = TypeVar("T")


class Interrupts:
    """Turns the first terminating signal into KeyboardInterrupt, and exits at a later one."""

    def __init__(self) -> None:
        self._console: Console | None = None
        self._signals = 0
        self._cancel: Callable[[], object] | None = None
        self._leaving: Callable[[], object] = lambda: None
        self._restore: Callable[[], None] = lambda: None

    def install(self, console: "Console", leaving: Callable[[], object] = lambda: None) -> None:
        """Handle the signals, except those that the parent process set to be ignored.

        `leaving` is called before an immediate exit.
        """
        self._console, self._signals, self._leaving = console, 0, leaving
        self._restore = _terminal_as_it_is()
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end; Ctrl-C cancels it and raises KeyboardInterrupt."""
        import asyncio

        if threading.current_thread() is not threading.main_thread():  # only the main thread gets signals
            return asyncio.run(coroutine)
        return asyncio.run(self._cancellable(coroutine))

    async def _cancellable(self, coroutine: Coroutine[Any, Any, T]) -> T:
        import asyncio

        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        if self._console is not None and task is not None:
            # Threadsafe wakes the loop, which may be waiting for an event that never comes.
            self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        with _waking(loop):
            try:
                return await coroutine
            except asyncio.CancelledError:
                if self._signals:
                    raise KeyboardInterrupt from None
                raise
            finally:
                self._cancel = None

    def _on_signal(self, _signal: int, _frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals == 1:
            self._say("Stopping; press Ctrl-C again to exit at once")
            if self._cancel is None:
                raise KeyboardInterrupt
            self._cancel()
        elif self._signals == 2 and self._cancel is None:  # noqa: PLR2004 - aborts the cleanup
            raise KeyboardInterrupt
        else:
            self._leave()

    def _leave(self) -> NoReturn:
        self._restore()
        self._say(
            "Exited at once: `workshop status` shows what is still running, `workshop teardown` removes it"
        )
        with contextlib.suppress(Exception):  # as in `_say`
            self._leaving()
            sys.stdout.flush()
        os._exit(INTERRUPTED)

    def _say(self, text: str) -> None:
        with contextlib.suppress(Exception):  # a message from a signal handler must not raise
            if self._console:
                self._console.tell(text)


@contextlib.contextmanager
def _waking(loop: "AbstractEventLoop") -> Iterator[None]:
    """Let each signal wake the loop.

    Python calls a handler between two steps of the program, so a signal that arrives just before the loop
    begins to wait would be noticed only after the wait, which may never end.
    """
    import socket

    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    loop.add_reader(reader, lambda: reader.recv(64))
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        loop.remove_reader(reader)
        reader.close()
        writer.close()


def _terminal_as_it_is() -> Callable[[], None]:
    """A function that restores the terminal's current state."""
    try:
        import termios

        before = termios.tcgetattr(sys.stdin)
    except (ImportError, OSError, ValueError, AttributeError, TypeError):
        return lambda: None
    except termios.error:
        return lambda: None

    def restore() -> None:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
        if sys.stderr.isatty():
            sys.stderr.write(_SHOW_CURSOR)
            sys.stderr.flush()

    return restore


interrupts = Interrupts()
