"""Exercise 6: what does a stolen store reveal, and what does a log?"""

import json
import os
import sqlite3
import time
from collections.abc import Mapping
from typing import Any

from workshop.auth import Vault, digest

_TABLE = """
PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON;
CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY, value BLOB, expires REAL);
"""
_LOGGED = ("client_id", "login")


class Records:
    """The key-value store: a record is found by its kind and a secret (or an id), until its time is over."""

    # ↓ A key is the secret's digest, and the value is sealed (AES-GCM) with a key that follows from the
    #   secret: who has the file has neither. Only the one who brings the token can open what belongs to it.
    def __init__(self, path: str) -> None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.executescript(_TABLE)

    def put(self, kind: str, secret: str, value: Mapping[str, Any], seconds: float) -> None:
        self._db.execute("DELETE FROM records WHERE expires <= ?", [time.time()])
        sealed = _vault(secret).seal(json.dumps(dict(value)).encode(), kind)
        row = [_key(kind, secret), sealed, time.time() + seconds]
        self._db.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", row)

    def get(self, kind: str, secret: str) -> dict[str, Any] | None:
        select = "SELECT value FROM records WHERE key = ? AND expires > ?"
        return self._found(kind, secret, select, time.time())

    def take(self, kind: str, secret: str) -> dict[str, Any] | None:
        """The record, the first time only: of two that ask at once, the database gives it to one."""
        take = "DELETE FROM records WHERE key = ? AND expires > ? RETURNING value"
        return self._found(kind, secret, take, time.time())

    def drop(self, kind: str, secret: str) -> None:
        self._db.execute("DELETE FROM records WHERE key = ?", [_key(kind, secret)])

    def _found(self, kind: str, secret: str, statement: str, now: float) -> dict[str, Any] | None:
        rows = self._db.execute(statement, [_key(kind, secret), now]).fetchall()
        plain = _vault(secret).unseal(rows[0][0], kind) if rows else None
        found: dict[str, Any] | None = json.loads(plain) if plain else None
        return found


def _key(kind: str, secret: str) -> str:
    return f"{kind}:{digest(secret)}"


def _vault(secret: str) -> Vault:
    return Vault(secret.encode("utf-8", "surrogatepass"))


def log_line(event: str, details: Mapping[str, object]) -> str:
    """What the log has about an event."""
    return " ".join([event, *(f"{name}={details[name]}" for name in _LOGGED if name in details)])
    # ↑
