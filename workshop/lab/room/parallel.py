"""The same work on many seats: several at once, with a bound, and with an end at the first failure."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

_AT_ONCE = 8  # gentle to a small API server; 60 seats then take 20 s
T = TypeVar("T")
U = TypeVar("U")


def for_each(items: Iterable[T], work: Callable[[T], U], note: Callable[[str], None]) -> dict[T, U]:
    """What `work` returns for each item, several at once; after a failure no other item is begun."""
    waiting = list(items)
    done: dict[T, U] = {}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = {pool.submit(work, item): item for item in waiting}
        try:
            for future in as_completed(futures):
                done[futures[future]] = future.result()
                note(f"{len(done)} of {len(waiting)}")
        except BaseException:  # Ctrl-C too
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return {item: done[item] for item in waiting}
