"""Exercise 1: who may register, and with which addresses."""

import uuid

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from worker import Worker

_MONTH = 30 * 24 * 3600


async def register(worker: Worker, request: Request) -> Response:
    """Keep a client and answer with its id (RFC 7591)."""
    # ↓ Your turn
    document = await request.json()
    client = {
        "client_id": str(uuid.uuid4()),
        "client_secret": str(uuid.uuid4()),
        "client_secret_expires_at": 0,
        "client_name": document.get("client_name", ""),
        "redirect_uris": document.get("redirect_uris", []),
        "token_endpoint_auth_method": document.get("token_endpoint_auth_method", "client_secret_post"),
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
    }
    worker.records.put("client", client["client_id"], client, _MONTH)
    worker.log("client registered", **client)
    return JSONResponse(client, 201)
    # ↑
