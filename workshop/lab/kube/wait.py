"""Wait for something in the cluster to succeed or to fail, up to a time limit."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from workshop.core.errors import DeadlineError, WorkshopError
from workshop.lab.kube.connection import UnreachableError

T = TypeVar("T")


@dataclass(frozen=True)
class Diagnosis:
    """Why a wait failed: short lines about what is wrong, and what to do about it."""

    lines: tuple[str, ...] = ()
    hint: str = ""

    @property
    def why(self) -> str:
        return "\n".join(self.lines)


def bound(seconds: float) -> str:
    """A wait's time limit in words, for its progress line."""
    minutes = f"{seconds / 60:.3g} min"
    return f"at most {minutes}" if seconds >= 120 else f"at most {seconds:.0f} s"  # noqa: PLR2004 - from 2 min on


def wait_for(
    what: str,
    look: Callable[[], T],
    *,
    done: Callable[[T], bool],
    failed: Callable[[T], str],
    seconds: float,
    note: Callable[[str], None] = lambda _: None,
    state: Callable[[T], str] = lambda _: "",
    diagnose: Callable[[], Diagnosis] = Diagnosis,
    settled: int = 1,
    look_seconds: float = 0.5,
    unreachable_seconds: float = 30.0,
) -> T:
    """Call `look` until `done` holds for `settled` results in a row; return the last result.

    Raises WorkshopError as soon as `failed` returns a reason, DeadlineError after `seconds`; both carry the
    diagnosis. `note` gets the `state` of every result, and the time limit. The API server may be unreachable
    for `unreachable_seconds`, for example while kubeadm restarts it.
    """
    deadline = time.monotonic() + seconds
    good = 0
    while True:
        patience = min(unreachable_seconds, deadline - time.monotonic())
        result = reach(look, seconds, note, look_seconds=look_seconds, unreachable_seconds=patience)
        good = good + 1 if done(result) else 0
        if good >= settled:
            note(state(result))
            return result
        if reason := failed(result):
            found = diagnose()
            raise WorkshopError(f"{what} cannot become ready: {reason}", why=found.why, hint=found.hint)
        note(", ".join(part for part in (state(result), bound(seconds)) if part))
        if time.monotonic() + look_seconds > deadline:
            found = diagnose()
            shown = f" ({state(result)})" if state(result) else ""
            raise DeadlineError(
                f"{what} was not ready within {seconds:.0f} s{shown}", why=found.why, hint=found.hint
            )
        time.sleep(look_seconds)


def reach(
    look: Callable[[], T],
    seconds: float,
    note: Callable[[str], None],
    *,
    look_seconds: float,
    unreachable_seconds: float = 30.0,
) -> T:
    """The result of `look`, called again while the API server is unreachable for a moment."""
    until = time.monotonic() + min(seconds, unreachable_seconds)
    while True:
        try:
            return look()
        except UnreachableError:
            if time.monotonic() + look_seconds > until:
                raise
            note(f"the cluster does not answer, {bound(seconds)}")
            time.sleep(look_seconds)
