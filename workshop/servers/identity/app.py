"""The provider's one port: discovery, the authorization server, its sign-in page, and health."""

import json
import time
from collections.abc import Mapping
from typing import Any

from starlette.routing import Router
from starlette.types import ASGIApp

from workshop.auth import Cors, HostGuard, Patience, Vault
from workshop.auth.access_tokens import AccessTokens
from workshop.auth.client_documents import Fetch
from workshop.auth.guarded_fetch import GuardedFetch
from workshop.auth.limits import Clock
from workshop.auth.routes import CORS_PATHS, authorization_server_routes, common_routes, server_route
from workshop.auth.server import AuthServer
from workshop.auth.store import Client
from workshop.auth.store_sqlite import SqliteStore, maintained
from workshop.core.serving import LastResort
from workshop.servers.identity.config import LOGIN_PATH, IdentityConfig, read
from workshop.servers.identity.login import LoginPage, PracticePeople, username_claim
from workshop.servers.practice.data import load


class IdentityStore(SqliteStore):
    """Clients of the configuration are never written down: taken out of it, they are gone."""

    def __init__(self, path: str, vault: Vault, clients: Mapping[str, Client]) -> None:
        super().__init__(path, vault)
        self._clients = clients

    def client(self, client_id: str, now: float) -> Client | None:
        return self._clients.get(client_id) or super().client(client_id, now)


def create_app(config: Mapping[str, Any], *, clock: Clock = time.time, fetch: Fetch | None = None) -> ASGIApp:
    """The provider as an ASGI application; it needs the lifespan protocol, and one event loop.

    `fetch` takes the place of the guarded fetch of client metadata documents, for tests.

    Raises UsageError for a wrong configuration, or a store that cannot be opened.
    """
    settings = read(config)
    vault = Vault(*settings.auth.secrets, bound_to=sealed_for(settings))
    people = PracticePeople(load().users, vault, clock)
    server = _server(settings, vault, people, clock, fetch)
    router = Router(
        [
            server_route(server, LOGIN_PATH, LoginPage(people), "GET", "POST", hop=server.sign_in_hop),
            *authorization_server_routes(server),
            *common_routes(server.store),
        ],
        redirect_slashes=False,
        lifespan=lambda _: maintained(server.store, clock),
    )
    guarded = HostGuard(router, settings.auth.issuer, port=settings.port)
    return LastResort(Cors(guarded, CORS_PATHS), log_requests=True)


def sealed_for(settings: IdentityConfig) -> str:
    """A sign-in is for one resource; when that changes, everyone signs in again."""
    return json.dumps(["identity", settings.auth.issuer, settings.auth.resource])


def _server(
    settings: IdentityConfig, vault: Vault, people: PracticePeople, clock: Clock, fetch: Fetch | None
) -> AuthServer:
    patience = Patience()
    return AuthServer(
        settings.auth,
        remote_url=settings.auth.resource,
        store=IdentityStore(settings.store, vault, settings.clients),
        vault=vault,
        tokens=AccessTokens(settings.auth, clock, username_claim),
        upstream=people,
        clock=clock,
        patience=patience,
        fetch=fetch or GuardedFetch(patience.document),
        hop=settings.hop,
    )
