"""The provider's configuration, its sign-in page, and its one port: discovery, authorization server, health.

The sign-in page is shown only in the browser that approved the client, for the sign-in that waits for it: the
state, unguessable and bound to that browser's cookie, protects its form. It redirects only to our callback.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Router
from starlette.types import ASGIApp

from workshop.auth import (
    Cors,
    HostGuard,
    PageError,
    Parameters,
    Patience,
    Upstream,
    UpstreamError,
    Vault,
    form_page,
    form_parameters,
    load_signing_key,
    query_parameters,
    redirect,
    refuse_other_sites,
    s256,
    same_secret,
    wrong_setting,
)
from workshop.auth.access_tokens import AccessTokens
from workshop.auth.browser import check_browser, template_in
from workshop.auth.client_documents import Fetch
from workshop.auth.clients import GRANT_TYPES
from workshop.auth.config import CALLBACK_PATH, DEFAULT_SCOPES, Auth, DocumentRules, check_hmac
from workshop.auth.config_reader import Block, Scopes, Text, Texts, Url, read_block, read_secret
from workshop.auth.guarded_fetch import GuardedFetch
from workshop.auth.http import visible
from workshop.auth.limits import Clock
from workshop.auth.redirect_rules import registration_problem
from workshop.auth.routes import CORS_PATHS, authorization_server_routes, common_routes, server_route
from workshop.auth.server import AuthServer
from workshop.auth.store import Client, Grant, Identity, PendingSignIn, UpstreamTokens
from workshop.auth.store_sqlite import SqliteStore, maintained
from workshop.auth.upstream import Trouble
from workshop.core.hops import HOPS
from workshop.core.mistakes import Port, Whole
from workshop.core.serving import LastResort
from workshop.servers.practice.catalog import User, load

_CODE = "sign-in code"
_CODE_SECONDS = 60.0  # the redirect that carries the code follows at once


class PracticePeople:
    """Replaces an upstream; a user's only "upstream token" is the login name."""

    name = "The practice identity provider"
    identity_source = "practice users"

    def __init__(self, users: Mapping[str, User], vault: Vault, clock: Clock) -> None:
        self.users = users
        self._vault = vault
        self._clock = clock

    def request(self, state: str, verifier: str) -> dict[str, str | None]:
        """The parameters of the sign-in page: it needs the state only."""
        del verifier
        return {"state": state}

    def code(self, user: User, verifier: str) -> str:
        """A sealed statement that `user` has signed in, for the pending sign-in with this verifier."""
        signed = {
            "user": user.login,
            # Binds the code to one sign-in: it cannot be injected into another (RFC 9700 section 4.5).
            "challenge": s256(verifier),
            "expires": self._clock() + _CODE_SECONDS,
        }
        return self._vault.seal_text(json.dumps(signed), _CODE)

    async def exchange(self, code: str, verifier: str) -> UpstreamTokens:
        """Raises UpstreamError for a code of another sign-in, or one that is too old."""
        plain = self._vault.unseal_text(code, _CODE)
        signed = json.loads(plain) if plain else {}
        if (
            not signed
            or not same_secret(signed["challenge"], s256(verifier))
            or signed["expires"] <= self._clock()
        ):
            raise UpstreamError(Trouble.REFUSED)
        return UpstreamTokens(signed["user"], None, None)

    async def identity(self, tokens: UpstreamTokens) -> Identity:
        """Raises UpstreamError for a user who no longer exists."""
        user = self.users.get(tokens.access_token)
        if user is None:
            raise UpstreamError(Trouble.REFUSED)
        return Identity(str(user.id), user.name, user.email)


def username_claim(grant: Grant) -> dict[str, Any]:
    """`preferred_username` (OpenID Connect Core section 5.1), by which a resource greets and logs people."""
    return {"preferred_username": grant.upstream.access_token} if grant.upstream else {}


_TEMPLATE = template_in(Path(__file__).with_name("login.html"))


class LoginPage:
    """Shows the page, and accepts the choice of a user."""

    def __init__(self, people: PracticePeople) -> None:
        self._people = people

    async def __call__(self, server: AuthServer, request: Request) -> Response:
        if request.method == "POST":
            return await self._answer(server, request)
        state, _ = _waiting(server, request, query_parameters(request))
        users = [(user.login, user.name) for user in self._people.users.values()]
        return form_page(_TEMPLATE, state=state, users=users, hop=server.sign_in_hop)

    async def _answer(self, server: AuthServer, request: Request) -> Response:
        fields = await form_parameters(request, seconds=server.patience.body)
        refuse_other_sites(request, server.config.issuer)
        state, pending = _waiting(server, request, fields)
        callback = server.url(CALLBACK_PATH)
        if fields.get("decision") == "deny":
            return redirect(callback, {"error": "access_denied", "state": state})
        user = self._people.users.get(fields.get("user") or "")
        if user is None:
            raise PageError("Unknown practice user", "Go back and choose one of the buttons.")
        return redirect(callback, {"code": self._people.code(user, pending.verifier), "state": state})


def _waiting(server: AuthServer, request: Request, sent: Parameters | None) -> tuple[str, PendingSignIn]:
    state = sent.get("state") if sent else None
    # Not removed: the callback does that, and until then the page may be reloaded.
    pending = server.store.pending(state, server.clock()) if state else None
    if state is None or pending is None:
        raise PageError(
            "No sign-in is waiting for this page",
            "It is already complete, or it took longer than ten minutes.",
        )
    check_browser(server, request, pending)
    return state, pending


LOGIN_PATH = "/login"
_DAY = 24 * 3600
# A resource server elsewhere cannot ask whether a token was revoked, so none lives long.
_ACCESS_SECONDS = 300


@dataclass(frozen=True)
class IdentityConfig:
    """Its port, its store, its authorization server, and the clients that need no registration."""

    port: int
    store: str
    auth: Auth
    clients: Mapping[str, Client]
    hop: int | None = None
    """The hop of its consent page; its sign-in page is the next one."""


class _Client(Block):
    client_id: Text
    redirect_uris: Texts = ()
    name: Text

    def read(self, scopes: tuple[str, ...], where: str) -> Client:
        for uri in self.redirect_uris:
            problem = registration_problem(uri, None)
            if problem:
                raise wrong_setting(f"{where}.redirect_uris", problem)
        if not self.redirect_uris:
            raise wrong_setting(f"{where}.redirect_uris", "A client needs at least one redirect URI")
        return Client(
            client_id=self.client_id,
            name=visible(self.name),
            redirect_uris=self.redirect_uris,
            grant_types=GRANT_TYPES,
            scopes=scopes,
            application_type=None,
            # A configured client is not stored, so it never expires.
            registered=0.0,
            preconfigured=True,
        )


class _File(Block):
    port: Port = 8080
    url: Url | None = None
    resource: Url
    store: Text
    signing_key_file: Text
    hmac_file: Text
    scopes: Scopes = ()
    clients: list[_Client] | None = None
    access_token_seconds: Annotated[int, Whole(60, _DAY)] = _ACCESS_SECONDS
    cimd: DocumentRules | None = None
    hop: Annotated[int, Whole(1, len(HOPS))] | None = None


def read(values: Mapping[str, Any]) -> IdentityConfig:
    """Raises UsageError with the setting and the problem."""
    root = read_block(_File, dict(values))
    auth = _auth(root, root.url or f"http://localhost:{root.port}")
    return IdentityConfig(root.port, root.store, auth, _clients(root.clients or [], auth.scopes), root.hop)


def _auth(root: _File, issuer: str) -> Auth:
    secret = read_secret(root.hmac_file, "hmac_file")
    check_hmac(secret, "hmac_file")
    key = load_signing_key(read_secret(root.signing_key_file, "signing_key_file"), "signing_key_file")
    documents = root.cimd or DocumentRules()
    documents.check(issuer, "cimd")
    return Auth(
        issuer=issuer,
        resource=root.resource,
        scopes=root.scopes or DEFAULT_SCOPES,
        required_scopes=(),
        signing_keys=(key,),
        secrets=(secret,),
        access_seconds=root.access_token_seconds,
        refresh_seconds=7 * _DAY,
        code_seconds=60,
        upstream=_own_sign_in(issuer),
        documents=documents,
    )


def _own_sign_in(issuer: str) -> Upstream:
    return Upstream(
        name="The practice identity provider",
        authorization_endpoint=issuer + LOGIN_PATH,
        # Never called: `PracticePeople` exchanges the code itself.
        token_endpoint=issuer + LOGIN_PATH,
        client_id="",
        client_secret="",
        redirect_uri=issuer + CALLBACK_PATH,
        scopes=(),
        userinfo=None,
    )


def _clients(listed: Sequence[_Client], scopes: tuple[str, ...]) -> dict[str, Client]:
    clients = [client.read(scopes, f"clients.{number}") for number, client in enumerate(listed)]
    known = {client.client_id: client for client in clients}
    if len(known) != len(clients):
        raise wrong_setting("clients", "Two clients have one client_id")
    return known


class IdentityStore(SqliteStore):
    """The clients of the configuration are not stored: once removed from it, they are unknown."""

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
    # `Cors` comes before the guard, which refuses every foreign Origin.
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
