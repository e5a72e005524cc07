"""Exercise 6: what does a stolen store reveal, and what does a log?"""

import json
import sqlite3
import time
from collections.abc import Mapping
from typing import Any

_TABLE = """
PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY, value TEXT, expires REAL);
"""


class Records:
    """The key-value store: a record is found by its kind and a secret (or an id), until its time is over."""

    # ↓ Your turn
    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.executescript(_TABLE)

    def put(self, kind: str, secret: str, value: Mapping[str, Any], seconds: float) -> None:
        self._db.execute("DELETE FROM records WHERE expires <= ?", [time.time()])
        row = [f"{kind}:{secret}", json.dumps(dict(value)), time.time() + seconds]
        self._db.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", row)

    def get(self, kind: str, secret: str) -> dict[str, Any] | None:
        select = "SELECT value FROM records WHERE key = ? AND expires > ?"
        row = self._db.execute(select, [f"{kind}:{secret}", time.time()]).fetchone()
        return json.loads(row[0]) if row else None

    def take(self, kind: str, secret: str) -> dict[str, Any] | None:
        """The record, the first time only."""
        found = self.get(kind, secret)
        self.drop(kind, secret)
        return found

    def drop(self, kind: str, secret: str) -> None:
        self._db.execute("DELETE FROM records WHERE key = ?", [f"{kind}:{secret}"])


def log_line(event: str, details: Mapping[str, object]) -> str:
    """What the log tells of an event."""
    return f"{event} {json.dumps(details)}"
    # ↑
