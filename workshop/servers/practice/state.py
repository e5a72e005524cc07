"""The state of a running practice GitHub, and how it is reset."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from workshop.core.seats import record_key
from workshop.servers.practice.catalog import Catalog, User, load, with_seats
from workshop.servers.practice.config import PracticeConfig
from workshop.servers.practice.faults import WRONG_USER, Faults
from workshop.servers.practice.recorder import Recorder
from workshop.servers.practice.tokens import Authorizations, Caller, Tokens

TOOL_REQUEST = "practice.tool_request"
LIMIT = 5000
_WINDOW_SECONDS = 3600


@dataclass(frozen=True)
class ToolRequest:
    """The caller of one request and the data; every link starts with `url`.

    `includes` reports whether the request selects the tools of a toolset, or those of them that write.
    """

    caller: Caller
    catalog: Catalog
    url: str
    includes: Callable[..., bool]


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


@dataclass
class PracticeState:
    """The state of one practice GitHub; all in memory, only tokens remain valid after a restart."""

    config: PracticeConfig
    catalog: Catalog
    tokens: Tokens
    authorizations: Authorizations
    faults: Faults
    recorder: Recorder
    rate_limits: RateLimits
    readers: Mapping[str, str]
    """The user by the hash of a record key; empty without seats."""
    skip_consent: bool = False

    @classmethod
    def fresh(cls, config: PracticeConfig, clock: Callable[[], float] = time.time) -> "PracticeState":
        """The state at start; `clock` returns seconds since the epoch."""
        return cls(
            config=config,
            catalog=Catalog(with_seats(load(), config.seat_users)),
            # Each seat has the app's secret, so with seats the tokens are made from another one.
            tokens=Tokens(config.record_secret or config.client_secret),
            authorizations=Authorizations(clock),
            faults=Faults(),
            recorder=Recorder(config.seats),
            rate_limits=RateLimits(clock),
            readers={_digest(record_key(config.record_secret, user)): user for user in config.seat_users},
        )

    @property
    def people(self) -> tuple[User, ...]:
        """Who may log in: the seats' users if there are seats, otherwise everybody."""
        names = self.config.seat_users
        return tuple(map(self.catalog.user, names)) if names else self.catalog.users

    def reader(self, request: HTTPConnection) -> str | None:
        """The user whose record key a request has; None for any other key, and for none."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        # Found by its hash, so that the time of the look-up reveals nothing about a key.
        return self.readers.get(_digest(key.strip())) if scheme.lower() == "bearer" else None

    def reset(self) -> None:
        """Delete faults, tokens, approvals, changes of the data and recorded requests."""
        self.skip_consent = False
        self.faults.clear()
        self.tokens.revoke()
        self.authorizations.clear()
        self.catalog.restore()
        self.recorder.clear()
        self.rate_limits.clear()

    def acting(self, request: HTTPConnection, login: str) -> str:
        """The user that a request acts for: another one while the fault `wrong_user` is active."""
        if not request.scope.get(WRONG_USER):
            return login
        return next(user.login for user in self.catalog.users if user.login != login)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
