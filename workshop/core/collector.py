"""How often Python looks for garbage in one of our processes."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_COLLECT_AFTER = 100_000
"""Objects; with Python's own 700, it looks hundreds of times while packages load, which leave no garbage."""


@contextmanager
def rare_collections() -> Iterator[None]:
    """Few collections in the block, which is all that a process does, and none at the end of the process."""
    gc.set_threshold(_COLLECT_AFTER, 20, 20)
    try:
        yield
    finally:
        # Otherwise Python looks through every object once more when the process ends.
        gc.freeze()
