"""The store in one SQLite file; with the path `:memory:` the same rules without a file, for tests.

Calls are synchronous and short (one or a few indexed statements on a local file, no fsync per commit), which
costs the event loop less than handing them to a thread would. Every multi-statement decision runs in
BEGIN IMMEDIATE, so that two processes on one file see single use as one process does.

Secrets go in as the client sent them and are stored as digests; upstream tokens and pending sign-ins are
stored encrypted. `now` and `expires` are seconds since the epoch.
"""

import asyncio
import logging
import sqlite3
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from workshop.auth.limits import Clock
from workshop.auth.store import (
    CLIENT,
    PENDING,
    Client,
    Code,
    Grant,
    PendingSignIn,
    Rotation,
    StoreFullError,
    StoreUnavailableError,
    UpstreamTokens,
    connect,
)
from workshop.auth.vault import Vault, digest

_OPENED = 1000  # grants that stay decrypted in memory, more than a class has


@dataclass(frozen=True)
class _Secrets:
    """What is sealed of a grant."""

    name: str | None
    email: str | None
    upstream: UpstreamTokens | None


_SECRETS = TypeAdapter(_Secrets)


class SqliteStore:
    """Clients, sign-ins in progress, grants with their codes, refresh tokens and MCP sessions."""

    def __init__(self, path: str, vault: Vault) -> None:
        """`vault` seals whatever must not be read from the file; raises UsageError."""
        self._db = connect(path)
        self._vault = vault
        # Every call reads its grant, twice; only one that has changed is decrypted again.
        self._opened: dict[str, tuple[tuple[Any, ...], Grant]] = {}

    # clients

    def add_client(self, client: Client, *, limit: int) -> None:
        """Keep a client for 24 hours, or for as long as it is used.

        Raises StoreFullError at `limit` registered clients; 0 sets no bound.
        """
        row = (client.client_id, CLIENT.dump_json(client).decode(), client.registered)
        with self.together():
            self._refuse_more_clients(client.registered, limit, described=False)
            self._execute("INSERT INTO clients (client_id, document, registered) VALUES (?, ?, ?)", row)

    def keep_client(self, client: Client, *, now: float, limit: int) -> None:
        """Store a client under its document's address, or replace what is stored.

        Raises StoreFullError at `limit` clients that have a document.
        """
        row = (client.client_id, CLIENT.dump_json(client).decode(), now)
        with self.together():
            if self._one("SELECT 1 FROM clients WHERE client_id = ?", client.client_id) is None:
                self._refuse_more_clients(now, limit, described=True)
            self._execute(
                "INSERT INTO clients (client_id, document, registered) VALUES (?, ?, ?)"
                " ON CONFLICT (client_id) DO UPDATE SET"
                " document = excluded.document, registered = excluded.registered",
                row,
            )

    def client(self, client_id: str, now: float) -> Client | None:
        select = "SELECT document FROM clients_with_end WHERE client_id = ? AND expires > ?"
        row = self._one(select, client_id, now)
        return CLIENT.validate_json(row[0]) if row else None

    def use_client(self, client_id: str, now: float) -> None:
        """Keep a client that was given a token for another 30 days."""
        self._execute("UPDATE clients SET used = ? WHERE client_id = ?", (now, client_id))

    def _refuse_more_clients(self, now: float, limit: int, *, described: bool) -> None:
        select = "SELECT count(*), min(expires) FROM clients_with_end WHERE described = ? AND expires > ?"
        row = self._one(select, described, now)
        if limit and row and row[0] >= limit:
            raise StoreFullError("clients", row[1] - now)

    # sign-ins in progress

    def spend_ticket(self, ticket: str, *, expires: float, limit: int) -> bool:
        """True for the first call with this ticket only."""
        with self.together():
            self._refuse_when_full("tickets", limit)
            # Not `rowcount`: in a Turkish locale Python 3.11 and 3.12 do not see that this is an INSERT.
            insert = "INSERT OR IGNORE INTO tickets (ticket, expires) VALUES (?, ?) RETURNING 1"
            return self._one(insert, digest(ticket), expires) is not None

    def add_pending(self, state: str, pending: PendingSignIn, *, expires: float, limit: int) -> None:
        """Raises StoreFullError at `limit` sign-ins in progress."""
        key = digest(state)
        sealed = self._vault.seal(PENDING.dump_json(pending), f"pending {key}")
        with self.together():
            self._refuse_when_full("pending", limit)
            self._execute(
                "INSERT INTO pending (state, sealed, expires) VALUES (?, ?, ?)", (key, sealed, expires)
            )

    def pending(self, state: str, now: float) -> PendingSignIn | None:
        """A sign-in in progress; it stays in the store."""
        return self._pending("SELECT sealed, expires FROM pending WHERE state = ?", state, now)

    def take_pending(self, state: str, now: float) -> PendingSignIn | None:
        """A sign-in in progress, removed from the store: each is returned once."""
        return self._pending("DELETE FROM pending WHERE state = ? RETURNING sealed, expires", state, now)

    def _pending(self, statement: str, state: str, now: float) -> PendingSignIn | None:
        key = digest(state)
        row = self._one(statement, key)
        plain = self._vault.unseal(row[0], f"pending {key}") if row and row[1] > now else None
        return PENDING.validate_json(plain) if plain else None

    # grants

    def subject(self, upstream: str, upstream_subject: str) -> str:
        """Our UUID for a user of the upstream: the same one each time."""
        key = digest(f"{upstream}\0{upstream_subject}")
        with self.together():
            fresh = (key, str(uuid.uuid4()))
            self._execute("INSERT OR IGNORE INTO subjects (upstream, sub) VALUES (?, ?)", fresh)
            row = self._one("SELECT sub FROM subjects WHERE upstream = ?", key)
        return str(row[0]) if row else fresh[1]

    def open_grant(self, grant: Grant, code_value: str, code: Code) -> None:
        with self.together():
            row = (grant.tsid, grant.client_id, grant.sub, " ".join(grant.scopes), grant.resource)
            self._execute(
                "INSERT INTO grants (tsid, client_id, sub, scopes, resource, sealed, expires)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*row, self._seal_grant(grant), grant.expires),
            )
            self._execute(
                "INSERT INTO codes (code, tsid, redirect_uri, code_challenge, expires)"
                " VALUES (?, ?, ?, ?, ?)",
                (digest(code_value), grant.tsid, code.redirect_uri, code.code_challenge, code.expires),
            )

    def take_code(self, code_value: str, now: float) -> tuple[Grant, Code] | None:
        """The grant of a code, returned once; a second attempt revokes the grant."""
        key = digest(code_value)
        take = (
            "UPDATE codes SET taken = 1 WHERE code = ? AND taken = 0 AND expires > ?"
            " RETURNING tsid, redirect_uri, code_challenge, expires"
        )
        with self.together():
            row = self._one(take, key, now)
            if row is None:
                # The first use may have been the thief's (RFC 6749 section 4.1.2).
                replayed = (
                    "DELETE FROM grants WHERE tsid = (SELECT tsid FROM codes WHERE code = ? AND taken = 1)"
                )
                self._execute(replayed, (key,))
                return None
            grant = self.grant(row[0])
        return (grant, Code(row[1], row[2], row[3])) if grant else None

    def grant(self, tsid: str) -> Grant | None:
        select = "SELECT client_id, sub, scopes, resource, expires, sealed FROM grants WHERE tsid = ?"
        row = self._one(select, tsid)
        known, grant = self._opened.get(tsid, (None, None))
        if row is None:
            self._opened.pop(tsid, None)
            return None
        if row != known or grant is None:
            grant = self._grant(tsid, row)
            if len(self._opened) >= _OPENED:
                self._opened.clear()
            self._opened[tsid] = row, grant
        return grant

    def extend_grant(self, tsid: str, expires: float) -> None:
        """Keep a grant at least until `expires`."""
        self._execute("UPDATE grants SET expires = max(expires, ?) WHERE tsid = ?", (expires, tsid))

    def revoke(self, tsid: str) -> None:
        """Delete a grant with its codes, refresh tokens, sessions and upstream tokens, atomically."""
        self._execute("DELETE FROM grants WHERE tsid = ?", (tsid,))

    def replace_upstream(self, tsid: str, old: UpstreamTokens, new: UpstreamTokens) -> bool:
        """Swap the upstream tokens if they are still `old`."""
        with self.together():
            grant = self.grant(tsid)
            if grant is None or grant.upstream != old:
                return False
            sealed = self._seal(tsid, grant.name, grant.email, new)
            self._execute("UPDATE grants SET sealed = ? WHERE tsid = ?", (sealed, tsid))
            return True

    # refresh tokens

    def add_refresh(self, token: str, tsid: str, *, expires: float) -> None:
        insert = "INSERT INTO refresh_tokens (token, tsid, expires) VALUES (?, ?, ?)"
        self._execute(insert, (digest(token), tsid, expires))

    def refresh_grant(self, token: str, now: float) -> Grant | None:
        """The grant a live or recently used refresh token belongs to; changes nothing."""
        row = self._one("SELECT tsid FROM refresh_tokens WHERE token = ? AND expires > ?", digest(token), now)
        return self.grant(row[0]) if row else None

    def known_refresh(self, tokens: Iterable[str]) -> str | None:
        """The first of these refresh tokens that was issued."""
        select = "SELECT 1 FROM refresh_tokens WHERE token = ?"
        return next((token for token in tokens if self._one(select, digest(token))), None)

    def rotate(self, token: str, successor: str, *, now: float, expires: float, grace: float) -> Rotation:
        key = digest(token)
        with self.together():
            row = self._one("SELECT tsid, used FROM refresh_tokens WHERE token = ? AND expires > ?", key, now)
            if row is None:
                return Rotation.UNKNOWN
            tsid, used = row
            if used is not None:
                return self._repeated_or_reused(key, tsid, late=now - used > grace)
            self._execute("UPDATE refresh_tokens SET used = ? WHERE token = ?", (now, key))
            insert = "INSERT INTO refresh_tokens (token, tsid, parent, expires) VALUES (?, ?, ?, ?)"
            self._execute(insert, (digest(successor), tsid, key, expires))
            self.extend_grant(tsid, expires)
            return Rotation.ROTATED

    def _repeated_or_reused(self, key: str, tsid: str, *, late: bool) -> Rotation:
        fresh = "SELECT 1 FROM refresh_tokens WHERE parent = ? AND used IS NULL"
        if not late and self._one(fresh, key):
            return Rotation.REPEATED
        self.revoke(tsid)
        return Rotation.REUSED

    # MCP sessions

    def bind_session(self, session: str, tsid: str, *, expires: float, limit: int) -> None:
        """Bind an MCP session to a grant, or keep an existing binding alive; the first grant wins."""
        with self.together():
            self._execute(
                "INSERT INTO sessions (session, tsid, expires) SELECT ?, tsid, ? FROM grants WHERE tsid = ?"
                " ON CONFLICT (session) DO UPDATE SET expires = excluded.expires WHERE tsid = excluded.tsid",
                (digest(session), expires, tsid),
            )
            self._execute(
                "DELETE FROM sessions WHERE session IN"
                " (SELECT session FROM sessions WHERE tsid = ? ORDER BY expires DESC LIMIT -1 OFFSET ?)",
                (tsid, limit),
            )

    def session_owner(self, session: str, now: float) -> str | None:
        row = self._one("SELECT tsid FROM sessions WHERE session = ? AND expires > ?", digest(session), now)
        return str(row[0]) if row else None

    def end_session(self, session: str) -> None:
        self._execute("DELETE FROM sessions WHERE session = ?", (digest(session),))

    # upkeep

    def purge(self, now: float) -> int:
        """Delete what has expired; returns the number of deleted rows."""
        with self.together():
            before = self._db.total_changes
            # A used code stays as long as its grant, so that a late replay still revokes.
            self._execute("DELETE FROM codes WHERE expires <= ? AND taken = 0", (now,))
            for table in ("tickets", "pending", "grants", "refresh_tokens", "sessions"):
                self._execute(f"DELETE FROM {table} WHERE expires <= ?", (now,))  # noqa: S608 - fixed names
            expired = "SELECT client_id FROM clients_with_end WHERE expires <= ?"
            self._execute(f"DELETE FROM clients WHERE client_id IN ({expired})", (now,))  # noqa: S608 - fixed
            return self._db.total_changes - before

    def ping(self) -> None:
        """Raises StoreUnavailableError."""
        self._one("SELECT count(*) FROM grants")

    def close(self) -> None:
        self._db.close()

    def _execute(self, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise StoreUnavailableError(error.sqlite_errorname) from error

    @contextmanager
    def together(self) -> Iterator[None]:
        """All changes in this block, which awaits nothing, are made at once; none if it raises."""
        if self._db.in_transaction:  # a part of a larger change
            yield
            return
        self._execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._execute("ROLLBACK")
            raise
        self._execute("COMMIT")

    def _one(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        # All rows are fetched: SQLite finishes an UPDATE … RETURNING only at its last row.
        rows = self._execute(statement, values).fetchall()
        return rows[0] if rows else None

    def _refuse_when_full(self, table: str, limit: int) -> None:
        row = self._one(f"SELECT count(*) FROM {table}")  # noqa: S608 - fixed names
        if row and row[0] >= limit:
            raise StoreFullError(table)

    def _seal_grant(self, grant: Grant) -> bytes:
        return self._seal(grant.tsid, grant.name, grant.email, grant.upstream)

    def _seal(self, tsid: str, name: str | None, email: str | None, upstream: UpstreamTokens | None) -> bytes:
        return self._vault.seal(_SECRETS.dump_json(_Secrets(name, email, upstream)), f"grant {tsid}")

    def _grant(self, tsid: str, row: tuple[Any, ...]) -> Grant:
        client_id, sub, scopes, resource, expires, sealed = row
        plain = self._vault.unseal(sealed, f"grant {tsid}")
        opened = _SECRETS.validate_json(plain) if plain else _Secrets(None, None, None)
        return Grant(
            *(
                tsid,
                client_id,
                sub,
                tuple(scopes.split()),
                resource,
                expires,
                opened.name,
                opened.email,
            ),
            upstream=opened.upstream,
        )


_LOG = logging.getLogger(__name__)
_PURGE_SECONDS = 60.0


@asynccontextmanager
async def maintained(store: SqliteStore, clock: Clock) -> AsyncIterator[None]:
    """Delete expired rows every minute while a server runs, and close the store at the end."""
    upkeep = asyncio.create_task(_purge(store, clock))
    try:
        yield
    finally:
        upkeep.cancel()
        await asyncio.gather(upkeep, return_exceptions=True)
        store.close()


async def _purge(store: SqliteStore, clock: Clock) -> None:
    while True:
        try:
            store.purge(clock())
        except StoreUnavailableError as error:
            _LOG.warning("expired rows not deleted: %s", error)
        await asyncio.sleep(_PURGE_SECONDS)
