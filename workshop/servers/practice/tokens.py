"""Access tokens of the practice GitHub and the OAuth scopes that they grant."""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

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
    try:
        return base64.b32decode(body.upper() + "=" * (-len(body) % 8)).decode()
    except (binascii.Error, UnicodeDecodeError) as error:  # pragma: no cover
        raise AssertionError("a body with a valid MAC was encoded here") from error
