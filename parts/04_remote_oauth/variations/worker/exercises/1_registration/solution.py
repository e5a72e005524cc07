"""Exercise 1: who may register, and with which addresses."""

import time
import uuid

from starlette.requests import Request
from starlette.responses import Response
from worker import Worker

from workshop.auth import (
    OAuthError,
    TokenBucket,
    bounded_body,
    client_name,
    private_json,
    read_document,
    redirect_uris,
    require_public_code_client,
)

_MONTH = 30 * 24 * 3600
_REGISTRATIONS = TokenBucket(10, 200, time.time)


async def register(worker: Worker, request: Request) -> Response:
    """Keep a client and answer with its id (RFC 7591)."""
    # ↓ One to ten addresses, https or loopback; no secret, for whoever asks gets one; no cache keeps this.
    if not _REGISTRATIONS.take():
        raise OAuthError("too_many_requests", "Too many registrations", status=429)
    document = read_document(await bounded_body(request, seconds=30))
    require_public_code_client(document)
    client = {
        "client_id": str(uuid.uuid4()),
        "client_name": client_name(document),
        "redirect_uris": list(redirect_uris(document)),
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
    }
    worker.records.put("client", client["client_id"], client, _MONTH)
    worker.log("client registered", **client)
    return private_json(client, status=201)
    # ↑
