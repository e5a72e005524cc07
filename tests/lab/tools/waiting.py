"""Waiting for what another process does, with a bound."""

import time
from collections.abc import Callable

_SECONDS = 60.0
_POLL_SECONDS = 0.02


def until(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds; fails after a minute."""
    deadline = time.monotonic() + _SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it did not come true within a minute"
        time.sleep(_POLL_SECONDS)
