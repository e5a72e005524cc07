"""Faults that can be switched on, so that everybody sees what their side does then."""

import asyncio
import contextlib
from dataclasses import dataclass, replace
from typing import Any

from workshop.core.errors import UsageError

TARGETS = {
    "token": "POST /login/oauth/access_token",
    "userinfo": "GET /user and /user/repos",
    "mcp": "the MCP endpoint",
    "authorize": "the authorize page",
}
FAULTS = {
    "slow": "answers after `seconds`",
    "500": "answers 500",
    "html": "answers 200 with a page of HTML",
    "empty": "answers 200 with nothing",
    "huge": "answers 200 with 16 MiB of JSON",
    "wrong_user": "acts for the other practice user",
    "drop": "closes the connection in the middle of the answer",
    "revoked": "makes the tokens of `user` (or of all) invalid, at once",
    "none": "switches the fault of the target off",
}
_MOST_SECONDS = 120.0
_MOST_TIMES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong at one endpoint, for the next `times` requests."""

    target: str
    kind: str
    times: int = 1
    seconds: float = 5.0
    user: str | None = None


def parse(raw: Any, users: set[str]) -> Fault:  # noqa: ANN401 - JSON can be anything
    """Check what was posted. Raises UsageError that names the field."""
    if not isinstance(raw, dict):
        raise UsageError("A fault is a JSON object")
    fault = Fault(
        target=raw.get("target", "mcp" if raw.get("fault") == "revoked" else ""),
        kind=raw.get("fault", ""),
        times=raw.get("times", 1),
        seconds=raw.get("seconds", 5.0),
        user=raw.get("user"),
    )
    _require(
        isinstance(fault.kind, str) and fault.kind in FAULTS, f"`fault` must be one of {', '.join(FAULTS)}"
    )
    _require(
        isinstance(fault.target, str) and fault.target in TARGETS,
        f"`target` must be one of {', '.join(TARGETS)}",
    )
    _require(
        type(fault.times) is int and 0 < fault.times <= _MOST_TIMES, "`times` must be a positive integer"
    )
    in_range = type(fault.seconds) in {int, float} and 0 <= fault.seconds <= _MOST_SECONDS
    _require(in_range, f"`seconds` must be between 0 and {_MOST_SECONDS:g}")
    _require(
        fault.user is None or (isinstance(fault.user, str) and fault.user in users),
        f"`user` must be one of {', '.join(sorted(users))}",
    )
    return fault


def _require(holds: bool, why: str) -> None:  # noqa: FBT001 - a check reads as a sentence
    if not holds:
        raise UsageError("This fault cannot be set", why=why)


class Faults:
    """At most one fault an endpoint."""

    def __init__(self) -> None:
        self._active: dict[str, Fault] = {}
        self._released = asyncio.Event()

    @property
    def active(self) -> tuple[Fault, ...]:
        return tuple(self._active.values())

    def set(self, fault: Fault) -> None:
        """Switch a fault on, in place of the one its endpoint had; `none` switches it off."""
        self._active.pop(fault.target, None)
        if fault.kind != "none":
            self._active[fault.target] = fault

    def take(self, target: str) -> Fault | None:
        """The fault this request meets; counts it."""
        fault = self._active.get(target)
        if fault and fault.times == 1:
            del self._active[target]
        elif fault:
            self._active[target] = replace(fault, times=fault.times - 1)
        return fault

    async def wait(self, seconds: float) -> None:
        """Let a slow request wait, at most until the faults are cleared."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._released.wait(), seconds)

    def clear(self) -> None:
        """Switch everything off; requests that wait go on."""
        self._active.clear()
        self._released.set()
        self._released = asyncio.Event()
