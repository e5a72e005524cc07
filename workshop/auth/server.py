"""What the authorization server's endpoints share."""

from dataclasses import InitVar, dataclass, field
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


@dataclass
class AuthServer:
    """An authorization server: configuration, state, and where people sign in."""

    config: Auth
    remote_url: str
    store: SqliteStore
    vault: Vault
    tokens: AccessTokens
    upstream: SignIn
    clock: Clock
    patience: Patience
    fetch: InitVar[Fetch]
    """How documents of clients are fetched, if the configuration allows it."""
    source: UpstreamTokenSource | None = None
    """Where an upstream's tokens come from; None for a server that signs people in itself."""
    hop: int | None = None
    """The hop of the consent page, for its footer; signing in is the next one. None shows no number."""
    registrations: TokenBucket = field(init=False)
    documents: ClientDocuments | None = field(init=False)

    def __post_init__(self, fetch: Fetch) -> None:
        rules = self.config.registrations
        self.registrations = TokenBucket(
            rules.max_tokens / rules.refill_seconds, rules.max_tokens, self.clock
        )
        enabled = self.config.documents.enabled
        self.documents = ClientDocuments(self.config, fetch, self.clock) if enabled else None

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
