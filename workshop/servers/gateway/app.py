"""The gateway's one port: discovery, the authorization server, health, and the relay for everything else."""

import contextlib
import json
import time
from collections.abc import AsyncIterator

from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from workshop.auth import Cors, HostGuard, Outbound, Patience, UpstreamProvider, Vault
from workshop.auth.access_tokens import AccessTokens
from workshop.auth.client_documents import Document, Fetch
from workshop.auth.config import Auth
from workshop.auth.config_reader import origin_of
from workshop.auth.limits import Clock
from workshop.auth.resource_server import ResourceServer, Sessions
from workshop.auth.routes import CORS_PATHS, auth_routes, common_routes
from workshop.auth.server import AuthServer
from workshop.auth.store_sqlite import SqliteStore, maintained
from workshop.auth.upstream import UpstreamTokenSource
from workshop.core.hops import CONSENT
from workshop.core.serving import LastResort
from workshop.servers.gateway.config import GatewayConfig
from workshop.servers.gateway.gate import Gate, OpenGate, TokenGate
from workshop.servers.gateway.relay import Relay


def create_app(
    config: GatewayConfig,
    *,
    clock: Clock = time.time,
    patience: Patience | None = None,
    fetch: Fetch | None = None,
) -> ASGIApp:
    """The gateway as an ASGI application; it needs the lifespan protocol, and one event loop.

    `fetch` takes the place of the guarded fetch of client metadata documents, for tests.

    Raises UsageError for a store that cannot be opened.
    """
    outbound = Outbound(patience or Patience())
    fetch = fetch or _guarded_fetch(outbound.patience.document)
    server, gate = _with_auth(config, config.auth, outbound, clock, fetch) if config.auth else _OPEN
    store = server.store if server else None
    relay = Relay(config, outbound, gate)
    routes = [*(auth_routes(server) if server else _NO_ROUTES), *common_routes(store)]
    router = Router(
        routes, redirect_slashes=False, default=relay, lifespan=lambda _: _running(outbound, store, clock)
    )
    # A whole path is looked up: the router would compare it with one route after another.
    whole = {route.path: route.app for route in routes if isinstance(route, Route)} | {"/mcp": relay}

    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        await whole.get(scope.get("path", ""), router)(scope, receive, send)

    issuer = config.auth.issuer if config.auth else None
    guarded = HostGuard(routed, issuer, port=config.port)
    # Without an authorization server no token is needed, so that no other page may come near the tools.
    app = Cors(guarded, ("/mcp", *CORS_PATHS)) if server else guarded
    return LastResort(app, log_requests=True)


def _guarded_fetch(seconds: float) -> Fetch:
    async def fetch(url: str) -> Document:
        from workshop.auth.guarded_fetch import GuardedFetch  # few gateways read documents of clients

        return await GuardedFetch(seconds)(url)

    return fetch


_NO_ROUTES: list[BaseRoute] = []
_OPEN: tuple[None, Gate] = (None, OpenGate())


def _with_auth(
    config: GatewayConfig, auth: Auth, outbound: Outbound, clock: Clock, fetch: Fetch
) -> tuple[AuthServer, Gate]:
    vault = Vault(*auth.secrets, bound_to=sealed_for(config.remote_url, auth))
    store, tokens = SqliteStore(config.store, vault), AccessTokens(auth, clock)
    upstream = UpstreamProvider(auth.upstream, outbound, clock)
    source = UpstreamTokenSource(store, upstream, clock)
    server = AuthServer(
        auth,
        remote_url=config.remote_url,
        store=store,
        vault=vault,
        tokens=tokens,
        upstream=upstream,
        clock=clock,
        patience=outbound.patience,
        fetch=fetch,
        source=source,
        hop=CONSENT,
    )
    resource_server = ResourceServer(auth, store, tokens, source, clock)
    return server, TokenGate(resource_server, Sessions(store, clock))


def sealed_for(remote_url: str, auth: Auth) -> str:
    """Where the upstream's tokens come from and go to; when that changes, everyone signs in again."""
    return json.dumps([auth.upstream.token_endpoint, auth.upstream.client_id, origin_of(remote_url)])


@contextlib.asynccontextmanager
async def _running(outbound: Outbound, store: SqliteStore | None, clock: Clock) -> AsyncIterator[None]:
    async with outbound, maintained(store, clock) if store else contextlib.nullcontext():
        yield
