"""What the authorization server's endpoints share."""

from dataclasses import dataclass

from workshop.gateway.access_tokens import AccessTokens
from workshop.gateway.client_documents import ClientDocuments
from workshop.gateway.config_auth import Auth
from workshop.gateway.limits import Clock, Patience, TokenBucket
from workshop.gateway.store import Store
from workshop.gateway.upstream import UpstreamProvider
from workshop.gateway.vault import Vault


@dataclass(frozen=True)
class AuthServer:
    """The authorization server of one gateway: configuration, state, and its upstream."""

    config: Auth
    remote_url: str
    store: Store
    vault: Vault
    tokens: AccessTokens
    upstream: UpstreamProvider
    registrations: TokenBucket
    documents: ClientDocuments | None
    clock: Clock
    patience: Patience

    def url(self, path: str) -> str:
        return f"{self.config.issuer}{path}"

    @property
    def secure_cookies(self) -> bool:
        return self.config.issuer.startswith("https:")
