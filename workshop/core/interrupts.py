"""Ctrl-C: it says what it does, ends what is under way, and a second one leaves at once."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from workshop.core.errors import INTERRUPTED

if TYPE_CHECKING:
    from workshop.core.console import Console

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_SHOW_CURSOR = "\x1b[?25h"
T = TypeVar("T")


class Interrupts:
    """Turns the signals that end a program into KeyboardInterrupt, and a second one into the end."""

    def __init__(self) -> None:
        self._console: Console | None = None
        self._told = 0
        self._cancel: Callable[[], object] | None = None
        self._leaving: Callable[[], object] = lambda: None
        self._restore: Callable[[], None] = lambda: None

    def install(self, console: "Console", leaving: Callable[[], object] = lambda: None) -> None:
        """Take the signals over, unless whoever started us wants Ctrl-C ignored.

        `leaving` is called before the process is left at once.
        """
        self._console, self._told, self._leaving = console, 0, leaving
        self._restore = _terminal_as_it_is()
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._heard)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end; Ctrl-C cancels it and then is KeyboardInterrupt."""
        import asyncio

        if threading.current_thread() is not threading.main_thread():  # signals are not for this one
            return asyncio.run(coroutine)
        return asyncio.run(self._cancellable(coroutine))

    async def _cancellable(self, coroutine: Coroutine[Any, Any, T]) -> T:
        import asyncio

        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        if self._console is not None and task is not None:
            # Woken from outside: the loop may be waiting for an event that does not come.
            self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        try:
            return await coroutine
        except asyncio.CancelledError:
            if self._told:
                raise KeyboardInterrupt from None
            raise
        finally:
            self._cancel = None

    def _heard(self, _signal: int, _frame: FrameType | None) -> None:
        self._told += 1
        if self._told == 1:
            self._say("Stopping; Ctrl-C again leaves at once")
            if self._cancel is None:
                raise KeyboardInterrupt
            self._cancel()
        elif self._told == 2 and self._cancel is None:  # noqa: PLR2004 - the second: cleaning up is broken off
            raise KeyboardInterrupt
        else:
            self._leave()

    def _leave(self) -> NoReturn:
        self._restore()
        self._say("Left at once: `workshop status` tells what is still there, `workshop teardown` removes it")
        with contextlib.suppress(Exception):  # same
            self._leaving()
            sys.stdout.flush()
        os._exit(INTERRUPTED)

    def _say(self, text: str) -> None:
        with contextlib.suppress(Exception):  # in a signal's handler: the message is not worth a traceback
            if self._console:
                self._console.tell(text)


def _terminal_as_it_is() -> Callable[[], None]:
    """What puts the terminal back into the state that it is in now."""
    try:
        import termios

        before = termios.tcgetattr(sys.stdin)
    except (ImportError, OSError, ValueError, AttributeError):
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
