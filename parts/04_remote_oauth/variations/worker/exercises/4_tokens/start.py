"""Exercise 4: who gets a token for a code, and how does a token end?"""

import base64
import contextlib
import uuid
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from worker import SCOPES, Worker

_HOUR = 3600


def metadata(url: str) -> dict[str, object]:
    """What this group adds to the server's metadata."""
    return {
        "token_endpoint": f"{url}/token",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic", "none"],
        "grant_types_supported": ["authorization_code"],
    }


# ↓ Your turn
async def token(worker: Worker, request: Request) -> Response:
    """Trade a code for a token."""
    if "json" in request.headers.get("content-type", ""):
        fields = await request.json()
    else:
        fields = dict(parse_qsl((await request.body()).decode()))
    scheme, _, pair = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        with contextlib.suppress(ValueError):
            named = base64.b64decode(pair, validate=True).decode().partition(":")
            fields |= {"client_id": named[0], "client_secret": named[2]}
    if fields.get("grant_type") != "authorization_code":
        return JSONResponse({"error": "unsupported_grant_type"}, 400)
    client = worker.records.get("client", fields.get("client_id", ""))
    if client is None or fields.get("client_secret") not in {None, client.get("client_secret")}:
        return JSONResponse({"error": "invalid_client"}, 401)
    grant = worker.records.get("code", fields.get("code", ""))
    asked = grant["asked"] if grant else {}
    if asked.get("client_id") != client["client_id"]:
        return JSONResponse({"error": "invalid_grant"}, 400)
    if asked.get("redirect_uri") != fields.get("redirect_uri"):
        return JSONResponse({"error": "invalid_grant"}, 400)
    worker.records.drop("code", fields["code"])
    access_token = str(uuid.uuid4())
    worker.records.put("session", access_token, grant, _HOUR)
    answer = {"access_token": access_token, "token_type": "bearer", "expires_in": _HOUR}
    worker.log("token issued", login=grant["login"], **answer)
    return JSONResponse({**answer, "scope": " ".join(SCOPES)})


async def revoke(worker: Worker, request: Request) -> Response:
    """End a token (RFC 7009)."""
    return JSONResponse({"error": "not_found"}, 404)


# ↑
