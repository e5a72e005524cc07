"""The stored records and the interface of the store, which decides atomically what is used only once.

Secrets go in as the client sent them and are stored as digests; upstream tokens and pending sign-ins are
stored encrypted. Implementations must be safe for two processes on one store. `now` and `expires` are
seconds since the epoch.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, Protocol

from workshop.auth.limits import Clock
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

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Client":
        lists = {name: tuple(values[name]) for name in ("redirect_uris", "grant_types", "scopes")}
        return cls(**{**values, **lists})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


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

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "AuthorizationRequest":
        return cls(**{**values, "scopes": tuple(values["scopes"])})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class PendingSignIn:
    """A consented request while its user is at the upstream; `browser` is the digest of the flow's cookie."""

    request: AuthorizationRequest
    flow: str
    browser: str
    verifier: str = field(repr=False)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "PendingSignIn":
        return cls(**{**values, "request": AuthorizationRequest.from_json(values["request"])})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class UpstreamTokens:
    """The user's tokens at the upstream; `expires_at` is None for one that does not expire (OAuth apps)."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_at: float | None


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


class Store(Protocol):
    """Clients, sign-ins in progress, grants with their codes, refresh tokens and MCP sessions."""

    def together(self) -> AbstractContextManager[None]:
        """All changes in this block, which awaits nothing, are made at once; none if it raises."""

    def add_client(self, client: Client, *, limit: int) -> None:
        """Keep a client for 24 hours, or for as long as it is used.

        Raises StoreFullError at `limit` registered clients; 0 sets no bound.
        """

    def keep_client(self, client: Client, *, now: float, limit: int) -> None:
        """Store a client under its document's address, or replace what is stored.

        Raises StoreFullError at `limit` clients that have a document.
        """

    def client(self, client_id: str, now: float) -> Client | None: ...

    def use_client(self, client_id: str, now: float) -> None:
        """Keep a client that was given a token for another 30 days."""

    def spend_ticket(self, ticket: str, *, expires: float, limit: int) -> bool:
        """True for the first call with this ticket only."""

    def add_pending(self, state: str, pending: PendingSignIn, *, expires: float, limit: int) -> None:
        """Raises StoreFullError at `limit` sign-ins in progress."""

    def pending(self, state: str, now: float) -> PendingSignIn | None:
        """A sign-in in progress; it stays in the store."""

    def take_pending(self, state: str, now: float) -> PendingSignIn | None:
        """A sign-in in progress, removed from the store: each is returned once."""

    def subject(self, upstream: str, upstream_subject: str) -> str:
        """Our UUID for a user of the upstream: the same one each time."""

    def open_grant(self, grant: Grant, code_value: str, code: Code) -> None: ...

    def take_code(self, code_value: str, now: float) -> tuple[Grant, Code] | None:
        """The grant of a code, returned once; a second attempt revokes the grant."""

    def grant(self, tsid: str) -> Grant | None: ...

    def extend_grant(self, tsid: str, expires: float) -> None:
        """Keep a grant at least until `expires`."""

    def revoke(self, tsid: str) -> None:
        """Delete a grant with its codes, refresh tokens, sessions and upstream tokens, atomically."""

    def replace_upstream(self, tsid: str, old: UpstreamTokens, new: UpstreamTokens) -> bool:
        """Swap the upstream tokens if they are still `old`."""

    def add_refresh(self, token: str, tsid: str, *, expires: float) -> None: ...

    def refresh_grant(self, token: str, now: float) -> Grant | None:
        """The grant a live or recently used refresh token belongs to; changes nothing."""

    def known_refresh(self, tokens: Iterable[str]) -> str | None:
        """The first of these refresh tokens that was issued."""

    def rotate(self, token: str, successor: str, *, now: float, expires: float, grace: float) -> Rotation: ...

    def bind_session(self, session: str, tsid: str, *, expires: float, limit: int) -> None:
        """Bind an MCP session to a grant, or keep an existing binding alive; the first grant wins."""

    def session_owner(self, session: str, now: float) -> str | None: ...

    def end_session(self, session: str) -> None: ...

    def purge(self, now: float) -> int:
        """Delete what has expired; returns the number of deleted rows."""

    def ping(self) -> None:
        """Raises StoreUnavailableError."""

    def close(self) -> None: ...


_LOG = logging.getLogger(__name__)
_PURGE_SECONDS = 60.0


@asynccontextmanager
async def maintained(store: Store, clock: Clock) -> AsyncIterator[None]:
    """Delete expired rows every minute while a server runs, and close the store at the end."""
    upkeep = asyncio.create_task(_purge(store, clock))
    try:
        yield
    finally:
        upkeep.cancel()
        await asyncio.gather(upkeep, return_exceptions=True)
        store.close()


async def _purge(store: Store, clock: Clock) -> None:
    while True:
        try:
            store.purge(clock())
        except StoreUnavailableError as error:
            _LOG.warning("expired rows not deleted: %s", error)
        await asyncio.sleep(_PURGE_SECONDS)
