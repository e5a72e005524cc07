"""The records of the store, and the tables of its file; `store_sqlite` reads and writes them."""

import os
import sqlite3
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from pydantic import TypeAdapter

from workshop.core.errors import UsageError, reason
from workshop.core.serving import UnavailableError


@dataclass(frozen=True)
class Client:
    """A client: registered dynamically (RFC 7591), described by a document at its id, or configured."""

    client_id: str
    name: str
    redirect_uris: tuple[str, ...]
    grant_types: tuple[str, ...]
    scopes: tuple[str, ...]
    application_type: str | None
    registered: float
    preconfigured: bool = False
    """Whether the server's operator entered it, and not the application itself."""
    auth_method: str = "none"
    """How it authenticates at the token endpoint (RFC 7591 section 2)."""
    secret_digest: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class AuthorizationRequest:
    """What a client asked for at the authorization endpoint, after every check."""

    client_id: str
    redirect_uri: str
    redirect_uri_given: bool
    state: str | None
    scopes: tuple[str, ...]
    resource: str
    code_challenge: str


@dataclass(frozen=True)
class PendingSignIn:
    """A consented request while its user is at the upstream; `browser` is the digest of the flow's cookie."""

    request: AuthorizationRequest
    flow: str
    browser: str
    verifier: str = field(repr=False)


@dataclass(frozen=True)
class UpstreamTokens:
    """The user's tokens at the upstream; `expires_at` is None for one that does not expire (OAuth apps)."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_at: float | None

    def left(self, now: float) -> float:
        """For how many seconds they are valid from now on."""
        return float("inf") if self.expires_at is None else self.expires_at - now


EARLY_SECONDS = 60.0
"""A token with less time left is renewed: it might expire on its way to the upstream."""


@dataclass(frozen=True)
class Identity:
    """The person who signed in, according to the upstream."""

    subject: str
    name: str | None
    email: str | None


@dataclass(frozen=True)
class Grant:
    """One sign-in of one user with one client: what every token of a `tsid` stands for.

    `upstream` is None when the stored tokens can no longer be decrypted.
    """

    tsid: str
    client_id: str
    sub: str
    scopes: tuple[str, ...]
    resource: str
    expires: float
    name: str | None
    email: str | None
    upstream: UpstreamTokens | None


@dataclass(frozen=True)
class Code:
    """What an authorization code is bound to, besides its grant."""

    redirect_uri: str | None
    code_challenge: str
    expires: float


CLIENT, PENDING = TypeAdapter(Client), TypeAdapter(PendingSignIn)
"""Read and write these records as JSON."""


class StoreFullError(Exception):
    """A table has reached its limit; the caller answers 503. A row expires in `seconds`, if known."""

    def __init__(self, table: str, seconds: float = 0.0) -> None:
        super().__init__(table)
        self.seconds = seconds


class StoreUnavailableError(UnavailableError):
    """The store cannot be read or written now (locked, full, gone)."""

    description = "The store cannot be used now"


class Rotation(Enum):
    """The result of presenting a refresh token."""

    ROTATED = "rotated"
    REPEATED = "repeated"
    """Presented twice in the grace period, its successor still unused: a retry, not a theft."""
    REUSED = "reused"
    """Presented again after its successor was used or the grace period: the grant is gone."""
    UNKNOWN = "unknown"


VERSION = 1
_BUSY_SECONDS = 2.0  # at most this long, the event loop waits for another process that writes
_TABLES = """
CREATE TABLE IF NOT EXISTS clients (
    client_id TEXT PRIMARY KEY, document TEXT NOT NULL, registered REAL NOT NULL, used REAL);
CREATE TABLE IF NOT EXISTS tickets (ticket TEXT PRIMARY KEY, expires REAL NOT NULL);
CREATE TABLE IF NOT EXISTS pending (state TEXT PRIMARY KEY, sealed BLOB NOT NULL, expires REAL NOT NULL);
CREATE TABLE IF NOT EXISTS subjects (upstream TEXT PRIMARY KEY, sub TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS grants (
    tsid TEXT PRIMARY KEY, client_id TEXT NOT NULL, sub TEXT NOT NULL, scopes TEXT NOT NULL,
    resource TEXT NOT NULL, sealed BLOB NOT NULL, expires REAL NOT NULL);
CREATE TABLE IF NOT EXISTS codes (
    code TEXT PRIMARY KEY, tsid TEXT NOT NULL REFERENCES grants ON DELETE CASCADE,
    redirect_uri TEXT, code_challenge TEXT NOT NULL, expires REAL NOT NULL, taken INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS refresh_tokens (
    token TEXT PRIMARY KEY, tsid TEXT NOT NULL REFERENCES grants ON DELETE CASCADE,
    parent TEXT, expires REAL NOT NULL, used REAL);
CREATE TABLE IF NOT EXISTS sessions (
    session TEXT PRIMARY KEY, tsid TEXT NOT NULL REFERENCES grants ON DELETE CASCADE, expires REAL NOT NULL);
CREATE VIEW IF NOT EXISTS clients_with_end AS
    SELECT client_id, document,
        client_id LIKE 'http%' AS described, -- by a document at this address; another id is a UUID of ours
        CASE WHEN used IS NULL THEN registered + 24*3600 ELSE used + 30*24*3600 END AS expires FROM clients;
CREATE INDEX IF NOT EXISTS codes_by_grant ON codes (tsid);
CREATE INDEX IF NOT EXISTS refresh_by_grant ON refresh_tokens (tsid);
CREATE INDEX IF NOT EXISTS refresh_by_parent ON refresh_tokens (parent);
CREATE INDEX IF NOT EXISTS sessions_by_grant ON sessions (tsid, expires);
"""


def connect(path: str) -> sqlite3.Connection:
    """Open the store, creating it readable by its owner only; `:memory:` keeps nothing.

    Raises UsageError for a file that is not such a store.
    """
    if path != ":memory:":
        _make_private(Path(path))
    try:
        # One thread uses it: the event loop's. A server may be made in another one than it runs in.
        connection = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        _prepare(connection, path)
    except sqlite3.DatabaseError as error:
        is_full = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
        raise UsageError(
            f"The store {path} cannot be used",
            why=str(error),
            hint=f"Free some space on the disk with `{path}`"
            if is_full
            else "Remove the file; everyone signs in once more",
        ) from error
    return connection


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found not in {0, VERSION}:
        connection.close()
        raise UsageError(
            f"The store {path} has version {found}, this program writes {VERSION}",
            hint="Remove the file; everyone signs in once more",
        )
    # WAL with NORMAL: a commit is a write without fsync, so a statement costs the event loop some 20-100 µs.
    # A killed process loses nothing (the page cache survives it); a power cut may lose the last sign-ins.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA journal_mode = WAL")
    # Off by default; without it, ON DELETE CASCADE does nothing.
    connection.execute("PRAGMA foreign_keys = ON")
    # Otherwise deleted rows could still be read from the file.
    connection.execute("PRAGMA secure_delete = ON")
    connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")


def _make_private(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)  # SQLite gives its -wal and -shm files the mode of this one
    except OSError as error:
        raise UsageError(f"The store {path} cannot be opened", why=reason(error)) from error
