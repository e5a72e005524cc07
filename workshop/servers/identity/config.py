"""The provider's configuration: one JSON object, with secrets in files it points at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from workshop.auth import Upstream, load_signing_key, wrong_setting
from workshop.auth.clients import GRANT_TYPES
from workshop.auth.config import CALLBACK_PATH, DEFAULT_SCOPES, Auth, DocumentRules, check_hmac
from workshop.auth.config_reader import Block, Scopes, Text, Texts, Url, Whole, read_block, read_secret
from workshop.auth.http import visible
from workshop.auth.redirect_rules import registration_problem
from workshop.auth.store import Client
from workshop.core.hops import HOPS

LOGIN_PATH = "/login"
_DAY = 24 * 3600
# A resource server elsewhere cannot ask whether a token was revoked, so none lives long.
_ACCESS_SECONDS = 300


@dataclass(frozen=True)
class IdentityConfig:
    """Where it listens, what it remembers, and its clients that need no registration."""

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
            registered=0.0,
            preconfigured=True,
        )


class _File(Block):
    port: Annotated[int, Whole(1, 65535)] = 8080
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
