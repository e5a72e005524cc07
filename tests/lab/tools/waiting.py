"""What another process does, and whether it has ended."""

import time
from collections.abc import Callable

import psutil

_SECONDS = 60.0
_POLL_SECONDS = 0.02


def until(holds: Callable[[], bool], seconds: float = _SECONDS) -> None:
    """Wait until a condition holds; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"it did not come true within {seconds:.0f} s"
        time.sleep(_POLL_SECONDS)


def gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
