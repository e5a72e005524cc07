"""What the authorization server's endpoints share."""

from dataclasses import dataclass
from typing import Protocol

from workshop.auth.access_tokens import AccessTokens
from workshop.auth.client_documents import ClientDocuments, Fetch
from workshop.auth.config import Auth
from workshop.auth.limits import Clock, Patience, TokenBucket
from workshop.auth.store import Identity, UpstreamTokens
from workshop.auth.store_sqlite import SqliteStore
from workshop.auth.upstream import UpstreamTokenSource
from workshop.auth.vault import Vault


class SignIn(Protocol):
    """Where a person signs in: at an upstream's OAuth application, or on a page of this server."""

    @property
    def name(self) -> str: ...

    @property
    def identity_source(self) -> str:
        """Whose subjects these are: user 1 of the practice GitHub is not user 1 of GitHub."""

    def request(self, state: str, verifier: str) -> dict[str, str | None]:
        """The parameters that open its authorization endpoint."""

    async def exchange(self, code: str, verifier: str) -> UpstreamTokens:
        """Raises UpstreamError."""

    async def identity(self, tokens: UpstreamTokens) -> Identity:
        """Raises UpstreamError."""


@dataclass(frozen=True)
class AuthServer:
    """An authorization server: configuration, state, and where people sign in."""

    config: Auth
    remote_url: str
    store: SqliteStore
    vault: Vault
    tokens: AccessTokens
    upstream: SignIn
    registrations: TokenBucket
    documents: ClientDocuments | None
    clock: Clock
    patience: Patience
    source: UpstreamTokenSource | None = None
    """Where an upstream's tokens come from; None for a server that signs people in itself."""
    hop: int | None = None
    """The hop of the consent page, for its footer; signing in is the next one. None shows no number."""

    @property
    def sign_in_hop(self) -> int | None:
        """The hop of the pages that follow the consent."""
        return self.hop and self.hop + 1

    def url(self, path: str) -> str:
        return f"{self.config.issuer}{path}"

    @property
    def signs_in_itself(self) -> bool:
        """Whether the sign-in page is one of our own."""
        return self.config.upstream.authorization_endpoint.startswith(self.url("/"))

    @property
    def secure_cookies(self) -> bool:
        return self.config.issuer.startswith("https:")


def authorization_server(
    auth: Auth,
    *,
    remote_url: str,
    store: SqliteStore,
    vault: Vault,
    tokens: AccessTokens,
    upstream: SignIn,
    clock: Clock,
    patience: Patience,
    fetch: Fetch,
    source: UpstreamTokenSource | None = None,
    hop: int | None = None,
) -> AuthServer:
    """With its rate limits, and with documents of clients where the configuration has them."""
    rules = auth.registrations
    documents = ClientDocuments(auth, fetch, clock)
    return AuthServer(
        config=auth,
        remote_url=remote_url,
        store=store,
        vault=vault,
        tokens=tokens,
        upstream=upstream,
        registrations=TokenBucket(rules.max_tokens / rules.refill_seconds, rules.max_tokens, clock),
        documents=documents if auth.documents.enabled else None,
        clock=clock,
        patience=patience,
        source=source,
        hop=hop,
    )
