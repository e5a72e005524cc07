"""Wait for something in the cluster: for its success, its failure, or the end of patience."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from workshop.core.errors import DeadlineError, WorkshopError
from workshop.lab.kube.connection import UnreachableError

T = TypeVar("T")

_LOOK_SECONDS = 0.5
_UNREACHABLE_SECONDS = 30.0  # how long an API server may be gone, as while kubeadm restarts it


@dataclass(frozen=True)
class Diagnosis:
    """What was found where a wait ended badly: short lines of what is wrong, and what to do about it."""

    lines: tuple[str, ...] = ()
    hint: str = ""

    @property
    def why(self) -> str:
        return "\n".join(self.lines)


def bound(seconds: float) -> str:
    """A wait's bound, for its progress line."""
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
) -> T:
    """Look until `done` holds for `settled` looks in a row; what was seen then.

    Raises WorkshopError as soon as `failed` names a reason, DeadlineError after `seconds`; both carry the
    diagnosis. `note` is told the `state` of every look, and the bound.
    """
    deadline = time.monotonic() + seconds
    good = 0
    while True:
        seen = reach(look, seconds, note, deadline)
        good = good + 1 if done(seen) else 0
        if good >= settled:
            note(state(seen))
            return seen
        if reason := failed(seen):
            found = diagnose()
            raise WorkshopError(f"{what} cannot become ready: {reason}", why=found.why, hint=found.hint)
        note(", ".join(part for part in (state(seen), bound(seconds)) if part))
        if time.monotonic() + _LOOK_SECONDS > deadline:
            found = diagnose()
            told = f" ({state(seen)})" if state(seen) else ""
            raise DeadlineError(
                f"{what} was not ready within {seconds:.0f} s{told}", why=found.why, hint=found.hint
            )
        time.sleep(_LOOK_SECONDS)


def reach(
    look: Callable[[], T], seconds: float, note: Callable[[str], None], deadline: float = math.inf
) -> T:
    """What a look sees, also of an API server that is gone for a moment, as while kubeadm restarts it."""
    until = min(deadline, time.monotonic() + min(seconds, _UNREACHABLE_SECONDS))
    while True:
        try:
            return look()
        except UnreachableError:
            if time.monotonic() + _LOOK_SECONDS > until:
                raise
            note(f"the cluster does not answer, {bound(seconds)}")
            time.sleep(_LOOK_SECONDS)
