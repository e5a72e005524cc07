"""What a login at the practice GitHub leaves: pending requests, codes, approvals, sessions, access tokens.

All of them are in memory. An access token carries its own user and scopes, so it is valid after a restart.
"""

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from workshop.core.encoding import s256

SCOPES = {
    "repo": "Read and write your repositories, private ones too",
    "public_repo": "Read and write your public repositories",
    "read:org": "See the organizations you belong to",
    "write:org": "Change membership of your organizations",
    "admin:org": "Manage your organizations",
    "user": "Read and change your profile",
    "read:user": "Read your profile",
    "user:email": "Read your e-mail address",
    "user:follow": "Follow and unfollow people",
    "gist": "Write gists",
    "notifications": "Read your notifications",
    "project": "Read and write your projects",
    "read:project": "Read your projects",
    "workflow": "Change workflow files",
    "delete_repo": "Delete repositories",
}
_INCLUDED = {
    "repo": {"public_repo"},
    "user": {"read:user", "user:email", "user:follow"},
    "admin:org": {"write:org", "read:org"},
    "write:org": {"read:org"},
    "project": {"read:project"},
}


def parse_scopes(text: str) -> tuple[str, ...]:
    """The known scopes in `text` (separated by spaces or commas), without those another one includes."""
    asked = dict.fromkeys(scope for scope in re.split(r"[\s,]+", text) if scope in SCOPES)
    included = {inner for scope in asked for inner in _INCLUDED.get(scope, ())}
    return tuple(scope for scope in asked if scope not in included)


def grants(scopes: tuple[str, ...], wanted: str) -> bool:
    """Whether one of `scopes` is `wanted` or includes it."""
    return any(wanted == scope or wanted in _INCLUDED.get(scope, ()) for scope in scopes)


# Neither a login nor base32 has an underscore, so the parts are unambiguous.
_SHAPE = re.compile(r"practice_(?P<login>[a-z0-9-]+)_(?P<body>[a-z2-7]+)_(?P<mac>[0-9a-f]{32})")


@dataclass(frozen=True)
class Caller:
    """The user that a request acts for, and the granted scopes."""

    login: str
    scopes: tuple[str, ...]


class Tokens:
    """Issues, checks and revokes tokens of the form `practice_<login>_<body>_<mac>`.

    The key is derived from the client secret, so tokens stay valid after a restart; revocations do not.
    """

    def __init__(self, client_secret: str, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._key = hmac.digest(client_secret.encode(), b"practice access token", "sha256")
        self._now_ns = now_ns
        self._valid_after: dict[str, int] = {}
        self._all_valid_after = 0

    def issue(self, login: str, scopes: tuple[str, ...]) -> str:
        """A new token; it never expires, like an OAuth app's."""
        body = _encode(f"{self._now_ns()}|{secrets.token_hex(8)}|{' '.join(scopes)}")
        return f"practice_{login}_{body}_{self._mac(login, body)}"

    def verify(self, token: str) -> Caller | None:
        """The caller, or None if the token was not issued here or was revoked."""
        if not (match := _SHAPE.fullmatch(token)):
            return None
        login, body, mac = match.group("login", "body", "mac")
        if not hmac.compare_digest(mac, self._mac(login, body)):
            return None
        issued, _, scopes = _decode(body).split("|")
        # In nanoseconds, so that a token issued right after a revocation is valid.
        if int(issued) <= max(self._valid_after.get(login, 0), self._all_valid_after):
            return None
        return Caller(login, tuple(scopes.split()))

    def revoke(self, login: str | None = None) -> None:
        """Revoke every token issued so far, of one user or of all."""
        if login is None:
            self._all_valid_after = self._now_ns()
        else:
            self._valid_after[login] = self._now_ns()

    def _mac(self, login: str, body: str) -> str:
        return hmac.digest(self._key, f"{login}|{body}".encode(), hashlib.sha256).hex()[:32]


def _encode(text: str) -> str:
    return base64.b32encode(text.encode()).decode().rstrip("=").lower()


def _decode(body: str) -> str:
    """The text of a body; it has a valid MAC, so it was encoded here."""
    return base64.b32decode(body.upper() + "=" * (-len(body) % 8)).decode()


CODE_SECONDS = 600  # as at GitHub
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
        # Removed before the browser is compared: a form that another browser has is compromised.
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
