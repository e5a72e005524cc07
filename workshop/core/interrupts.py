"""Ctrl-C: the first one stops the command and cleans up, a second one exits at once."""

import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from workshop.core.errors import INTERRUPTED

if TYPE_CHECKING:
    from workshop.core.console import Console

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_LEFT = "Exited at once: `workshop status` shows what is still running, `workshop teardown` removes it"
_AFTER_CALLBACK = 0.05  # seconds
_SHOW_CURSOR = "\x1b[?25h"  # rich hides it while it draws the progress
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
        sys.unraisablehook = self._on_ignored
        _wake_main_thread()
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            # `nohup` ignores SIGHUP, and a shell without job control ignores SIGINT for a command in the
            # background (POSIX, Shell Command Language, section 2.11).
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
        try:
            return await coroutine
        except asyncio.CancelledError:
            if self._signals:
                # Only if a signal caused it: any other cancellation belongs to whoever asked for it.
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

    def _on_ignored(self, ignored: "sys.UnraisableHookArgs") -> None:
        """Repeat a signal that came in a `__del__` or a callback, where Python ignores what it raises."""
        if ignored.exc_type is not KeyboardInterrupt:
            sys.__unraisablehook__(ignored)
            return
        self._signals -= 1
        threading.Timer(_AFTER_CALLBACK, os.kill, (os.getpid(), signal.SIGINT)).start()

    def _leave(self) -> NoReturn:
        _in_another_thread(self._restore)
        # The signal may have come while this thread was printing, which keeps the console from any other.
        if not self._say(_LEFT):
            _in_another_thread(lambda: _write_unbuffered(f"{_LEFT}\n"))
        _in_another_thread(self._finish)
        # Not `sys.exit`: that would run the cleanup which the person has just refused to wait for.
        os._exit(INTERRUPTED)

    def _finish(self) -> None:
        self._leaving()
        sys.stdout.flush()

    def _say(self, text: str) -> bool:
        """Whether it was printed; without a console there is nothing to print."""
        return self._console is None or _in_another_thread(functools.partial(self._console.tell, text))


def _in_another_thread(action: Callable[[], object]) -> bool:
    """Do it, but wait at most a second for it, and return whether it ended; what it raises is ignored.

    A signal handler must not print by itself: it may have interrupted this thread while it held one of the
    console's locks, and the thread that draws the progress may hold the other.
    """

    def act() -> None:
        with contextlib.suppress(Exception):
            action()

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(1)
    return not thread.is_alive()


def _write_unbuffered(text: str) -> None:
    """Write to stderr without the lock of its buffer, which the interrupted thread may hold."""
    os.write(sys.stderr.fileno(), text.encode())


@functools.cache  # one thread a process, however often `install` is called
def _wake_main_thread() -> None:
    """Start a thread that interrupts the main thread's wait after each signal.

    Python calls a handler between two steps of the main thread. A signal that arrives just before the main
    thread begins to wait, or in another thread, is handled only after that wait, which may never end.
    """
    if not hasattr(signal, "pthread_kill"):  # Windows, where Ctrl-C ends the waits of Python itself
        return
    reader, writer = os.pipe()
    # `set_wakeup_fd` requires it: a handler must not wait at a full pipe.
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    # SIGURG is free for this (Go's runtime uses it likewise): a handler that does nothing ends the wait.
    signal.signal(signal.SIGURG, lambda *_: None)
    main = threading.main_thread().ident or 0
    threading.Thread(target=_interrupt_waits, args=(reader, main), daemon=True).start()


def _interrupt_waits(reader: int, main: int) -> None:
    while arrived := os.read(reader, 64):
        # The signal that this thread sends arrives here, too; to answer it would never end.
        if set(arrived) == {signal.SIGURG}:
            continue
        for _ in range(10):  # the main thread may still be on its way to the wait
            time.sleep(0.05)
            signal.pthread_kill(main, signal.SIGURG)


def _terminal_as_it_is() -> Callable[[], None]:
    """A function that restores the terminal's current state."""
    try:
        import termios

        before = termios.tcgetattr(sys.stdin)
    except (ImportError, OSError, ValueError, AttributeError, TypeError):
        return lambda: None
    # Not in the tuple above: without the import, this name does not exist.
    except termios.error:
        return lambda: None

    def restore() -> None:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
        if sys.stderr.isatty():
            _write_unbuffered(_SHOW_CURSOR)

    return restore


interrupts = Interrupts()
