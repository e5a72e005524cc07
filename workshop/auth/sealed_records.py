"""Small records in one SQLite file: sealed, found by a key whose digest is kept, gone when expired."""

import json
import os
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workshop.auth.limits import Clock
from workshop.auth.store import StoreFullError, StoreUnavailableError
from workshop.auth.vault import Vault, digest
from workshop.core.errors import UsageError
from workshop.core.paths import make_private_dir

_MOST = 10_000
_TABLE = """
CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL, key TEXT NOT NULL, sealed BLOB NOT NULL, expires REAL NOT NULL,
    PRIMARY KEY (kind, key)) WITHOUT ROWID;
"""
Json = dict[str, Any]


class SealedRecords:
    """JSON objects by kind and key; what is used once is `take`n, and the database decides who was first.

    A record that no secret of ours sealed counts as not there. Methods raise StoreUnavailableError.
    """

    def __init__(self, path: str, vault: Vault, clock: Clock = time.time) -> None:
        """Raises UsageError for a file that is no such store."""
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
                f"The store {path} cannot be used", why=str(error), hint="Remove the file; it is made anew"
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
