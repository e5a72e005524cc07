"""Access tokens of the practice GitHub: signed, so that a restarted process still knows them."""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

_SHAPE = re.compile(r"practice_(?P<login>[a-z0-9-]+)_(?P<body>[a-z2-7]+)_(?P<mac>[0-9a-f]{32})")


@dataclass(frozen=True)
class Caller:
    """Whom a request acts for, and what that person allowed."""

    login: str
    scopes: tuple[str, ...]


class Tokens:
    """Issues, checks and revokes tokens of the form `practice_<login>_<body>_<mac>`.

    The key follows from the client secret; revocations live in memory only.
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
        """Whom the token acts for, or None when it is not ours or was revoked."""
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
        """Every token issued so far, of one user or of all, stops working."""
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
        raise AssertionError("a body whose MAC is right was made by us") from error
