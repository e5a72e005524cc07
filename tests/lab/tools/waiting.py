"""What another process does, and whether it has ended."""

import time
from collections.abc import Callable

import psutil

_SECONDS = 60.0
_POLL_SECONDS = 0.02


def until(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds; fails after a minute."""
    deadline = time.monotonic() + _SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it did not come true within a minute"
        time.sleep(_POLL_SECONDS)


def gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
