"""The provider's configuration: one JSON object, with secrets in files it points at."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workshop.auth import Section, Upstream, load_signing_key, wrong_setting
from workshop.auth.client_metadata import GRANT_TYPES
from workshop.auth.config import (
    CALLBACK_PATH,
    DEFAULT_SCOPES,
    Auth,
    check_hmac,
    load_document_rules,
    read_scopes,
)
from workshop.auth.http import visible
from workshop.auth.redirect_rules import registration_problem
from workshop.auth.store import Client
from workshop.core.hops import HOPS

LOGIN_PATH = "/login"
_KNOWN = frozenset(
    {"port", "url", "resource", "store", "signing_key_file", "hmac_file", "scopes", "clients"}
    | {"access_token_seconds", "cimd", "hop"}
)
_CLIENT = frozenset({"client_id", "redirect_uris", "name"})
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


def read(values: Mapping[str, Any]) -> IdentityConfig:
    """Raises UsageError with the setting and the problem."""
    root = Section.of(values, "", known=_KNOWN)
    port = root.number("port", 8080, 1, 65535)
    auth = _auth(root, root.url("url") if root.has("url") else f"http://localhost:{port}")
    hop = root.number("hop", 1, 1, len(HOPS)) if root.has("hop") else None
    return IdentityConfig(port, root.text("store"), auth, _clients(root, auth.scopes), hop)


def _auth(root: Section, issuer: str) -> Auth:
    secret = root.secret_file("hmac_file")
    check_hmac(secret, root.path("hmac_file"))
    key = load_signing_key(root.secret_file("signing_key_file"), root.path("signing_key_file"))
    return Auth(
        issuer=issuer,
        resource=root.url("resource"),
        scopes=read_scopes(root, "scopes") or DEFAULT_SCOPES,
        required_scopes=(),
        signing_keys=(key,),
        secrets=(secret,),
        access_seconds=root.number("access_token_seconds", _ACCESS_SECONDS, 60, _DAY),
        refresh_seconds=7 * _DAY,
        code_seconds=60,
        upstream=_own_sign_in(issuer),
        documents=load_document_rules(root, issuer),
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


def _clients(root: Section, scopes: tuple[str, ...]) -> dict[str, Client]:
    listed = root.values["clients"] if root.has("clients") else []
    if not isinstance(listed, list):
        raise wrong_setting(root.path("clients"), "It must be a list of clients")
    clients = [_client(entry, root.path(f"clients.{number}"), scopes) for number, entry in enumerate(listed)]
    known = {client.client_id: client for client in clients}
    if len(known) != len(clients):
        raise wrong_setting(root.path("clients"), "Two clients have one client_id")
    return known


def _client(entry: object, where: str, scopes: tuple[str, ...]) -> Client:
    section = Section.of(entry, where, known=_CLIENT)
    redirect_uris = section.texts("redirect_uris")
    for uri in redirect_uris:
        problem = registration_problem(uri, None)
        if problem:
            raise wrong_setting(section.path("redirect_uris"), problem)
    if not redirect_uris:
        raise wrong_setting(section.path("redirect_uris"), "A client needs at least one redirect URI")
    return Client(
        client_id=section.text("client_id"),
        name=visible(section.text("name")),
        redirect_uris=redirect_uris,
        grant_types=GRANT_TYPES,
        scopes=scopes,
        application_type=None,
        registered=0.0,
        preconfigured=True,
    )
