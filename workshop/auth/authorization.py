"""Put an authorization server together: the gateway's own, or one that stands for itself."""

from workshop.auth.access_tokens import AccessTokens
from workshop.auth.client_documents import ClientDocuments, Fetch
from workshop.auth.config_auth import Auth
from workshop.auth.limits import Clock, Patience, TokenBucket
from workshop.auth.server import AuthServer, SignIn
from workshop.auth.store import Store
from workshop.auth.upstream_tokens import UpstreamTokenSource
from workshop.auth.vault import Vault


def authorization_server(
    auth: Auth,
    *,
    remote_url: str,
    store: Store,
    vault: Vault,
    tokens: AccessTokens,
    upstream: SignIn,
    clock: Clock,
    patience: Patience,
    fetch: Fetch,
    source: UpstreamTokenSource | None = None,
) -> AuthServer:
    """With its rate limits, and with documents of clients where the configuration has them."""
    rules = auth.registrations
    documents = ClientDocuments(auth.documents, auth.scopes, fetch, clock)
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
    )
