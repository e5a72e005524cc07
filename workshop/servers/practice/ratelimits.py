"""Request counts an hour and user, shown in GitHub's rate-limit headers."""

from collections.abc import Callable
from dataclasses import dataclass

LIMIT = 5000
_WINDOW_SECONDS = 3600


@dataclass(frozen=True)
class Usage:
    """Requests used in the current hour; `reset` is seconds since the epoch."""

    used: int
    reset: int

    @property
    def exceeded(self) -> bool:
        return self.used > LIMIT

    def headers(self) -> dict[str, str]:
        """The headers GitHub sends with every answer of its REST API."""
        return {
            "X-RateLimit-Limit": str(LIMIT),
            "X-RateLimit-Remaining": str(max(LIMIT - self.used, 0)),
            "X-RateLimit-Used": str(min(self.used, LIMIT)),
            "X-RateLimit-Reset": str(self.reset),
            "X-RateLimit-Resource": "core",
        }


class RateLimits:
    """Counts the requests of each user in windows of one hour."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._usage: dict[str, Usage] = {}

    def count(self, login: str) -> Usage:
        """Count one request."""
        now = int(self._clock())
        usage = self._usage.get(login)
        if usage is None or usage.reset <= now:
            usage = Usage(0, now + _WINDOW_SECONDS)
        self._usage[login] = Usage(usage.used + 1, usage.reset)
        return self._usage[login]

    def clear(self) -> None:
        self._usage.clear()
