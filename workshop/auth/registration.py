"""Dynamic client registration (RFC 7591) with ToolHive's limits (pkg/authserver/server/registration)."""

import logging
import math
import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from workshop.auth.client_metadata import (
    GRANT_TYPES,
    application_type,
    client_name,
    read_document,
    redirect_uris,
    refused,
    require_public_code_client,
)
from workshop.auth.http import OAuthError, bounded_body, private_json, scopes_in
from workshop.auth.server import AuthServer
from workshop.auth.store import Client, StoreFullError

_LOG = logging.getLogger(__name__)


async def register(server: AuthServer, request: Request) -> Response:
    """Register a public client; addresses in its metadata (logo, policy, keys) are never fetched."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise OAuthError(
            "invalid_client_metadata", "Send the client metadata as application/json", status=415
        )
    if not server.registrations.take():
        later = _retry_after(server.registrations.wait)
        raise OAuthError("too_many_requests", "Too many registrations; try again", status=429, headers=later)
    client = _client(read_document(await bounded_body(request, seconds=server.patience.body)), server)
    try:
        server.store.add_client(client, limit=server.config.registrations.max_clients)
    except StoreFullError as error:
        later = _retry_after(error.seconds)
        raise OAuthError(
            "temporarily_unavailable", "No more clients can register now", status=503, headers=later
        ) from error
    _LOG.info("client registered: %s", client.client_id)
    return private_json(_answer(client), status=201)


def _retry_after(seconds: float) -> dict[str, str]:
    return {"retry-after": str(max(1, math.ceil(seconds)))}


def _client(document: dict[str, Any], server: AuthServer) -> Client:
    require_public_code_client(document)
    grant_types = _grant_types(document.get("grant_types", list(GRANT_TYPES)))
    scopes = _scopes(document.get("scope"), server.config.scopes)
    return Client(
        client_id=str(uuid.uuid4()),
        name=client_name(document),
        redirect_uris=redirect_uris(document),
        grant_types=grant_types,
        scopes=server.config.client_scopes(scopes, grant_types),
        application_type=application_type(document),
        registered=server.clock(),
    )


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


def _answer(client: Client) -> dict[str, object]:
    answer: dict[str, object] = {
        "client_id": client.client_id,
        "client_id_issued_at": int(client.registered),
        "redirect_uris": list(client.redirect_uris),
        "token_endpoint_auth_method": "none",
        "grant_types": list(client.grant_types),
        "response_types": ["code"],
        "scope": " ".join(client.scopes),
    }
    if client.name:
        answer["client_name"] = client.name
    if client.application_type:
        answer["application_type"] = client.application_type
    return answer
