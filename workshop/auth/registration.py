"""Dynamic client registration (RFC 7591) with ToolHive's limits (pkg/authserver/server/registration)."""

import logging
import math
import uuid
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

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
from workshop.auth.http import OAuthError, bounded_body, private_json, scopes_in
from workshop.auth.redirect_rules import Destination
from workshop.auth.server import AuthServer
from workshop.auth.store import Client, StoreFullError

_LOG = logging.getLogger(__name__)


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
