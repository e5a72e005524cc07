"""Exercise 1: who may register, and with which addresses."""

import time
import uuid

from starlette.requests import Request
from starlette.responses import Response
from worker import Worker

from workshop.auth import (
    SECRET_METHODS,
    OAuthError,
    TokenBucket,
    bounded_body,
    client_auth_method,
    client_name,
    new_client_secret,
    private_json,
    read_document,
    redirect_uris,
)

_MONTH = 30 * 24 * 3600
_REGISTRATIONS = TokenBucket(10, 200, time.time)


async def register(worker: Worker, request: Request) -> Response:
    """Store a client and answer with its id (RFC 7591)."""
    # ↓ One to ten redirect URIs that may be sent a code; a secret on request, of which only the digest is
    #   stored; and no cache stores the answer.
    if not _REGISTRATIONS.take():
        raise OAuthError("too_many_requests", "Too many registrations", status=429)
    document = read_document(await bounded_body(request, seconds=30))
    method = client_auth_method(document, ("none", *SECRET_METHODS))
    secret, secret_digest = (None, None) if method == "none" else new_client_secret()
    client = {
        "client_id": str(uuid.uuid4()),
        "client_name": client_name(document),
        "redirect_uris": list(redirect_uris(document)),
        "token_endpoint_auth_method": method,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
    }
    worker.records.put("client", client["client_id"], {**client, "secret_digest": secret_digest}, _MONTH)
    worker.log("client registered", **client)
    shown = {"client_secret": secret, "client_secret_expires_at": 0} if secret else {}
    return private_json({**client, **shown}, status=201)
    # ↑
