"""What the HMAC secret is for: sealing stored tokens, MACs on consent forms, and refresh token succession."""

import hashlib
import hmac
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from workshop.auth.limits import Clock
from workshop.auth.store import StoreFullError, StoreUnavailableError
from workshop.core.encoding import base64url
from workshop.core.errors import UsageError, reason
from workshop.core.paths import make_private_dir

_NONCE = 12  # bytes, as NIST SP 800-38D section 8.2 recommends for random ones


class Vault:
    """Encrypts and authenticates with keys derived (HKDF, RFC 5869) from the HMAC secrets.

    The first secret is current; the others still open what they sealed, so that a secret can be rotated.
    What was sealed under one `bound_to` is not opened under another: a store that meets another upstream
    must not send it the first one's tokens.
    """

    def __init__(self, current: bytes, *previous: bytes, bound_to: str = "") -> None:
        self._bound_to = bound_to
        secrets_ = (current, *previous)
        self._ciphers: Sequence[AESGCM] = [AESGCM(_derive(secret, b"seal")) for secret in secrets_]
        self._mac_keys = [_derive(secret, b"mac") for secret in secrets_]

    def seal(self, plain: bytes, purpose: str) -> bytes:
        """Encrypt (AES-256-GCM); only `unseal` with the same purpose gives it back."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._ciphers[0].encrypt(nonce, plain, self._label(purpose))

    def unseal(self, sealed: bytes, purpose: str) -> bytes | None:
        """The plain bytes, or None unless one of our secrets sealed them for this purpose."""
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], self._label(purpose))
            except (InvalidTag, ValueError):
                continue
        return None

    def seal_text(self, plain: str, purpose: str) -> str:
        """The same for a text, as hexadecimal digits: for a form, a cookie or an address."""
        return self.seal(plain.encode(), purpose).hex()

    def unseal_text(self, sealed: str, purpose: str) -> str | None:
        """The plain text, or None unless one of our secrets sealed it for this purpose."""
        try:
            plain = self.unseal(bytes.fromhex(sealed), purpose)
        except ValueError:
            return None
        return None if plain is None else plain.decode()

    def _label(self, purpose: str) -> bytes:
        return f"{purpose}\0{self._bound_to}".encode()

    def mac(self, purpose: str, *parts: str) -> str:
        """HMAC-SHA256 over the parts with the current secret, base64url."""
        return next(self.macs(purpose, *parts))

    def macs(self, purpose: str, *parts: str) -> Iterator[str]:
        """The same MAC under every secret, current first."""
        # A separator, so that `ab`, `c` and `a`, `bc` have different MACs.
        message = "\0".join((purpose, *parts)).encode()
        for key in self._mac_keys:
            yield base64url(hmac.digest(key, message, "sha256"))


def random_token() -> str:
    """256 random bits, base64url: codes, states, refresh tokens, cookies."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What is stored in place of a random secret."""
    # Without salt and stretching, because nobody can guess 256 random bits.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def same_secret(one: str, other: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))


def _derive(secret: bytes, use: bytes) -> bytes:
    return HKDF(hashes.SHA256(), length=32, salt=None, info=b"workshop-gateway " + use).derive(secret)


_MOST = 10_000
_TABLE = """
CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL, key TEXT NOT NULL, sealed BLOB NOT NULL, expires REAL NOT NULL,
    PRIMARY KEY (kind, key)) WITHOUT ROWID;
"""
Json = dict[str, Any]


class SealedRecords:
    """JSON objects by kind and key; what is used once is `take`n, and the database decides who was first.

    A record that none of our secrets sealed counts as absent. Methods raise StoreUnavailableError.
    """

    def __init__(self, path: str, vault: Vault, clock: Clock = time.time) -> None:
        """Raises UsageError for a file that is not such a store."""
        self._vault = vault
        self._clock = clock
        try:
            make_private_dir(Path(path).parent)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(path, timeout=2, isolation_level=None, check_same_thread=False)
            self._db.executescript(
                f"PRAGMA synchronous = NORMAL; PRAGMA journal_mode = WAL; PRAGMA secure_delete = ON; {_TABLE}"
            )
        except (OSError, sqlite3.DatabaseError) as error:
            raise UsageError(
                f"The store {path} cannot be used", why=reason(error), hint="Remove the file; it is made anew"
            ) from error

    def put(self, kind: str, key: str, value: Mapping[str, Any], *, seconds: float = float("inf")) -> None:
        """Keep or replace a record, for so long.

        Raises StoreFullError when there are too many of its kind that have not expired.
        """
        now = self._clock()
        self._rows("DELETE FROM records WHERE expires <= ?", now)
        ((count,),) = self._rows("SELECT count(*) FROM records WHERE kind = ?", kind)
        if count >= _MOST:
            raise StoreFullError(kind)
        name = digest(key)
        # Sealed for this row: copied to another one, it cannot be opened.
        sealed = self._vault.seal(json.dumps(dict(value)).encode(), f"{kind} {name}")
        self._rows("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)", kind, name, sealed, now + seconds)

    def get(self, kind: str, key: str) -> Json | None:
        rows = self._rows(
            "SELECT key, sealed, expires FROM records WHERE kind = ? AND key = ?", kind, digest(key)
        )
        return self._opened(kind, rows)

    def take(self, kind: str, key: str) -> Json | None:
        """The record, the first time only."""
        rows = self._rows(
            "DELETE FROM records WHERE kind = ? AND key = ? RETURNING key, sealed, expires", kind, digest(key)
        )
        return self._opened(kind, rows)

    def all(self, kind: str) -> list[Json]:
        rows = self._rows("SELECT key, sealed, expires FROM records WHERE kind = ? ORDER BY key", kind)
        return [value for row in rows if (value := self._opened(kind, [row])) is not None]

    def clear(self, kind: str) -> None:
        self._rows("DELETE FROM records WHERE kind = ?", kind)

    def close(self) -> None:
        self._db.close()

    def _opened(self, kind: str, rows: list[Any]) -> Json | None:
        if not rows or rows[0][2] <= self._clock():
            return None
        plain = self._vault.unseal(rows[0][1], f"{kind} {rows[0][0]}")
        value: Json | None = json.loads(plain) if plain is not None else None
        return value

    def _rows(self, statement: str, *values: object) -> list[Any]:
        try:
            return self._db.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise StoreUnavailableError(str(error)) from error
