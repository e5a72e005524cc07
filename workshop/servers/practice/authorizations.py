"""Pending authorization requests, one-time codes, approvals and browser sessions, all in memory."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from workshop.core.encoding import s256
from workshop.servers.practice.tokens import grants, parse_scopes

CODE_SECONDS = 600
_MOST = 1000

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class AuthorizationRequest:
    """The parameters of a request to the authorize endpoint, and the browser that sent it."""

    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str | None
    code_challenge: str | None
    browser: str


@dataclass(frozen=True)
class Grant:
    """The user and the request that a code was issued for."""

    login: str
    request: AuthorizationRequest


class OneTimeStore(Generic[Item]):
    """Items that can be taken once and expire; only a hash of their name is stored."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._items: dict[str, tuple[float, Item]] = {}

    def put(self, item: Item) -> str:
        """Store the item under a new random name; the oldest is dropped when there are too many."""
        name = secrets.token_urlsafe(32)
        self._items[_digest(name)] = (self._clock() + CODE_SECONDS, item)
        while len(self._items) > _MOST:
            del self._items[next(iter(self._items))]
        return name

    def take(self, name: str) -> Item | None:
        """Remove and return the item; None if it does not exist or has expired."""
        expires, item = self._items.pop(_digest(name), (0.0, None))
        return item if self._clock() < expires else None

    def clear(self) -> None:
        self._items.clear()


class Authorizations:
    """Pending requests, one-time codes, approvals by user, and signed-in browsers."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._pending = OneTimeStore[AuthorizationRequest](clock)
        self._codes = OneTimeStore[Grant](clock)
        self._approved: dict[tuple[str, str], tuple[str, ...]] = {}
        self._sessions: dict[str, str] = {}

    def ask(self, request: AuthorizationRequest) -> str:
        """Store a request while the page is open; returns the form's authenticity token."""
        return self._pending.put(request)

    def asked(self, authenticity_token: str, browser: str) -> AuthorizationRequest | None:
        """The request that a form was made for: the first time only, and only for the same browser."""
        request = self._pending.take(authenticity_token)
        matches = request is not None and hmac.compare_digest(request.browser.encode(), browser.encode())
        return request if matches else None

    def approve(self, login: str, request: AuthorizationRequest) -> str:
        """Remember the approval and return a one-time code."""
        key = (login, request.client_id)
        self._approved[key] = parse_scopes(" ".join((*self._approved.get(key, ()), *request.scopes)))
        return self._codes.put(Grant(login, request))

    def has_approved(self, login: str, request: AuthorizationRequest) -> bool:
        """Whether this person has already granted this app at least these scopes."""
        given = self._approved.get((login, request.client_id))
        return given is not None and all(grants(given, scope) for scope in request.scopes)

    def redeem(self, code: str) -> Grant | None:
        """The grant of the code; None the second time."""
        return self._codes.take(code)

    def sign_in(self, login: str) -> str:
        """A new browser session of this person."""
        name = secrets.token_urlsafe(32)
        self._sessions[_digest(name)] = login
        while len(self._sessions) > _MOST:
            del self._sessions[next(iter(self._sessions))]
        return name

    def signed_in(self, session: str) -> str | None:
        return self._sessions.get(_digest(session))

    @property
    def approvals(self) -> dict[str, tuple[str, ...]]:
        """The scopes each person has approved, by login."""
        return {login: given for (login, _), given in self._approved.items()}

    def clear(self) -> None:
        """Delete all of them."""
        self._pending.clear()
        self._codes.clear()
        self._approved.clear()
        self._sessions.clear()


def matches_challenge(challenge: str | None, verifier: str | None) -> bool:
    """PKCE with S256 (RFC 7636 section 4.6); both sent or neither (RFC 9700 section 2.1.1)."""
    if challenge is None or verifier is None:
        return challenge is verifier
    return hmac.compare_digest(s256(verifier).encode(), challenge.encode())


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
