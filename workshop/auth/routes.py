"""The HTTP surface: ToolHive's paths, discovery documents, answers to failures; and registration (RFC 7591).

Registrations have ToolHive's limits (pkg/authserver/server/registration).
"""

import logging
import math
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from workshop.auth.authorize import authorize
from workshop.auth.browser import error_page
from workshop.auth.clients import (
    GRANT_TYPES,
    application_type,
    client_auth_method,
    client_name,
    new_client_secret,
    read_document,
    redirect_uris,
    refused,
)
from workshop.auth.consent import callback, consent
from workshop.auth.http import OAuthError, PageError, bounded_body, error_json, private_json, scopes_in
from workshop.auth.limits import FORM_BYTES, BodyTooLargeError, ClientGoneError
from workshop.auth.redirect_rules import Destination
from workshop.auth.resource_server import PROTECTED_RESOURCE_PATH, public_json, resource_document
from workshop.auth.server import AuthServer
from workshop.auth.store import Client, StoreFullError
from workshop.auth.store_sqlite import SqliteStore
from workshop.auth.token_endpoint import revoke, token

_LOG = logging.getLogger(__name__)


async def protected_resource(server: AuthServer, request: Request) -> Response:
    """At the root ToolHive's resource, at a path the URL that the path belongs to (RFC 9728 section 3.3)."""
    config, at_root = server.config, request.url.path.rstrip("/") == PROTECTED_RESOURCE_PATH
    resource = config.resource if at_root else config.endpoint_resource or config.resource
    return resource_document(resource, [config.issuer], config.challenge_scopes)


async def server_metadata(server: AuthServer, request: Request) -> Response:
    del request
    return public_json(_server_metadata(server))


async def openid_configuration(server: AuthServer, request: Request) -> Response:
    """The same document with the fields OIDC discovery requires; no ID token is ever issued."""
    del request
    algorithms = sorted({key.algorithm for key in server.config.signing_keys})
    extra = {"subject_types_supported": ["public"], "id_token_signing_alg_values_supported": algorithms}
    return public_json({**_server_metadata(server), **extra})


async def jwks(server: AuthServer, request: Request) -> Response:
    del request
    return public_json(server.tokens.jwks())


def _server_metadata(server: AuthServer) -> dict[str, object]:
    return {
        "issuer": server.config.issuer,
        "authorization_endpoint": server.url("/oauth/authorize"),
        "token_endpoint": server.url("/oauth/token"),
        "registration_endpoint": server.url("/oauth/register"),
        "revocation_endpoint": server.url("/oauth/revoke"),
        "jwks_uri": server.url("/.well-known/jwks.json"),
        "scopes_supported": list(server.config.scopes),
        "response_types_supported": ["code"],
        # Without it, `fragment` would count as supported (RFC 8414 section 2).
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        # Without them, client_secret_basic would be the only method (RFC 8414 section 2).
        "token_endpoint_auth_methods_supported": list(server.config.client_auth_methods),
        "revocation_endpoint_auth_methods_supported": list(server.config.client_auth_methods),
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": server.config.documents.enabled,
    }


Handler = Callable[[Request], Awaitable[Response]]
ServerHandler = Callable[[AuthServer, Request], Awaitable[Response]]
_READ = ("GET", "HEAD")
_ANY = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_AUTHORIZATION_SERVER_PATH = "/.well-known/oauth-authorization-server"
_OPENID_PATH = "/.well-known/openid-configuration"


CORS_PATHS = ("/oauth/register", "/oauth/token")
"""What a client that is a web page fetches, besides metadata; people's pages are not among them."""


class Endpoint:
    """One handler for exactly the given methods; HEAD is not GET where a GET has an effect."""

    def __init__(self, handler: Handler, methods: Iterable[str], hop: int | None = None) -> None:
        """`hop` is the number of the hop that an error page names."""
        self._handler = handler
        self._hop = hop
        self._methods = tuple(methods)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._respond(Request(scope, receive))
        except ClientGoneError:
            return
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if request.method not in self._methods:
            allow = {"allow": ", ".join(self._methods)}
            return private_json({"error": "method_not_allowed"}, status=405, headers=allow)
        try:
            return await self._handler(request)
        except OAuthError as error:
            return error_json(error)
        except PageError as error:
            return error_page(error, self._hop)
        except BodyTooLargeError:
            description = f"A request body has at most {FORM_BYTES} bytes"
            return error_json(OAuthError("invalid_request", description, status=413))


def auth_routes(server: AuthServer) -> list[BaseRoute]:
    """The routes of a gateway, which is both the protected resource and the authorization server."""
    return [
        *(
            server_route(server, f"{PROTECTED_RESOURCE_PATH}{path}", protected_resource, *_READ)
            for path in ("", "/", "/mcp", "/mcp/")
        ),
        *authorization_server_routes(server),
    ]


def authorization_server_routes(server: AuthServer) -> list[BaseRoute]:
    """Discovery and OAuth endpoints; metadata also below its path, where clients of path-ful servers look."""

    def route(path: str, handler: ServerHandler, *methods: str, hop: int | None = None) -> Route:
        return server_route(server, path, handler, *methods, hop=hop)

    return [
        route(_AUTHORIZATION_SERVER_PATH, server_metadata, *_READ),
        route(f"{_AUTHORIZATION_SERVER_PATH}/{{rest:path}}", server_metadata, *_READ),
        route(_OPENID_PATH, openid_configuration, *_READ),
        route(f"{_OPENID_PATH}/{{rest:path}}", openid_configuration, *_READ),
        route("/.well-known/jwks.json", jwks, *_READ),
        route("/oauth/register", register, "POST"),
        route("/oauth/authorize", authorize, "GET", hop=server.hop),
        route("/oauth/consent", consent, "POST", hop=server.hop),
        route("/oauth/callback", callback, "GET", hop=server.sign_in_hop),
        route("/oauth/token", token, "POST"),
        route("/oauth/revoke", revoke, "POST"),
        Route("/oauth/{rest:path}", Endpoint(_not_found, _ANY)),
    ]


def server_route(
    server: AuthServer, path: str, handler: ServerHandler, *methods: str, hop: int | None = None
) -> Route:
    """A route to a handler of this server; an error page of it names `hop`."""
    return Route(path, Endpoint(lambda request: handler(server, request), methods, hop))


def common_routes(store: SqliteStore | None) -> list[BaseRoute]:
    """`/health`, and a 404 for other well-known documents."""

    async def health(request: Request) -> Response:
        del request
        if store is not None:
            store.ping()
        return private_json({"status": "ok"})

    return [
        Route("/health", Endpoint(health, _READ)),
        Route("/.well-known/{rest:path}", Endpoint(_not_found, _ANY)),
    ]


async def _not_found(request: Request) -> Response:
    del request
    return private_json({"error": "not_found"}, status=404)


async def register(server: AuthServer, request: Request) -> Response:
    """Register a client; addresses in its metadata (logo, policy, keys) are never fetched."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise OAuthError(
            "invalid_client_metadata", "Send the client metadata as application/json", status=415
        )
    # Before the body is read, so that refused registrations count, too.
    if not server.registrations.take():
        later = _retry_after(server.registrations.wait)
        raise OAuthError("too_many_requests", "Too many registrations; try again", status=429, headers=later)
    document = read_document(await bounded_body(request, seconds=server.patience.body))
    client, secret = _client(document, server)
    try:
        server.store.add_client(client, limit=server.config.registrations.max_clients)
    except StoreFullError as error:
        later = _retry_after(error.seconds)
        raise OAuthError(
            "temporarily_unavailable", "No more clients can register now", status=503, headers=later
        ) from error
    _LOG.info("client registered: %s", client.client_id)
    return private_json(_answer(client, secret), status=201)


def _retry_after(seconds: float) -> dict[str, str]:
    return {"retry-after": str(max(1, math.ceil(seconds)))}


def _client(document: dict[str, Any], server: AuthServer) -> tuple[Client, str | None]:
    """The client, and the secret that it asks for."""
    method = client_auth_method(document, server.config.client_auth_methods)
    secret, secret_digest = (None, None) if method == "none" else new_client_secret()
    uris = redirect_uris(document)
    if secret:
        _require_websites(uris)
    grant_types = _grant_types(document.get("grant_types", list(GRANT_TYPES)))
    scopes = _scopes(document.get("scope"), server.config.scopes)
    client = Client(
        client_id=str(uuid.uuid4()),
        name=client_name(document),
        redirect_uris=uris,
        grant_types=grant_types,
        scopes=server.config.client_scopes(scopes, grant_types),
        application_type=application_type(document),
        registered=server.clock(),
        auth_method=method,
        secret_digest=secret_digest,
    )
    return client, secret


def _require_websites(uris: Sequence[str]) -> None:
    """A program on somebody's computer cannot keep a secret (OAuth 2.1 section 2.1; ToolHive's rule too)."""
    for number, uri in enumerate(uris):
        if Destination.of(uri).is_local:
            problem = (
                f"redirect_uris[{number}]: a client with a secret has https redirect URIs beyond loopback"
            )
            raise OAuthError("invalid_redirect_uri", f"{problem}; use token_endpoint_auth_method none")


def _grant_types(value: object) -> tuple[str, ...]:
    known = isinstance(value, list) and all(item in GRANT_TYPES for item in value if isinstance(item, str))
    if not isinstance(value, list) or not known or "authorization_code" not in value:
        raise refused("grant_types must have authorization_code, may have refresh_token")
    if not all(isinstance(item, str) for item in value):
        raise refused("grant_types is a list of texts")
    return tuple(dict.fromkeys(value))


def _scopes(value: object, supported: tuple[str, ...]) -> tuple[str, ...]:
    scopes = scopes_in(value) if isinstance(value, str) else ("",)
    if value is None or not scopes:
        return supported
    if not set(scopes) <= set(supported):
        raise refused(f"scope must be out of: {' '.join(supported)}")
    return scopes


def _answer(client: Client, secret: str | None) -> dict[str, object]:
    answer: dict[str, object] = {
        "client_id": client.client_id,
        "client_id_issued_at": int(client.registered),
        "redirect_uris": list(client.redirect_uris),
        "token_endpoint_auth_method": client.auth_method,
        "grant_types": list(client.grant_types),
        "response_types": ["code"],
        "scope": " ".join(client.scopes),
    }
    if secret:
        # RFC 7591 section 3.2.1 requires the expiry of a secret; 0 means never.
        answer |= {"client_secret": secret, "client_secret_expires_at": 0}
    if client.name:
        answer["client_name"] = client.name
    if client.application_type:
        answer["application_type"] = client.application_type
    return answer
