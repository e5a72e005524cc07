"""Exercise 4: who gets a token for a code, and how does a token end?"""

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from worker import SCOPES, Worker

from workshop.auth import (
    OAuthError,
    Parameters,
    form_parameters,
    private_json,
    random_token,
    s256,
    same_secret,
)

_HOUR = 3600
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


def metadata(url: str) -> dict[str, object]:
    """What the server's metadata says of this group."""
    return {
        "token_endpoint": f"{url}/token",
        "grant_types_supported": ["authorization_code"],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint": f"{url}/revoke",
        "revocation_endpoint_auth_methods_supported": ["none"],
    }


# ↓ A code is taken before it is judged, so it works once; and only with all that it was made for.
async def token(worker: Worker, request: Request) -> Response:
    """Trade a code for a token."""
    fields = await form_parameters(request, seconds=30)
    client_id = _client_id(worker, request, fields)
    if fields.get("grant_type") != "authorization_code":
        raise OAuthError("unsupported_grant_type", "Use authorization_code")
    code = fields.get("code") or ""
    grant = worker.records.take("code", code)
    if grant is None:
        if spent := worker.records.take("spent", code):  # somebody has it a second time: end what it gave
            worker.records.drop("session", spent["session"])
        raise OAuthError("invalid_grant", "The code is unknown, expired or was used before")
    _check(worker, grant["asked"], client_id, fields)
    access_token = random_token()
    worker.records.put("session", access_token, grant, _HOUR)
    worker.records.put("spent", code, {"session": access_token}, _HOUR)
    answer = {"access_token": access_token, "token_type": "Bearer", "expires_in": _HOUR}
    worker.log("token issued", login=grant["login"], client_id=client_id, **answer)
    return private_json({**answer, "scope": " ".join(SCOPES)})


def _check(worker: Worker, asked: dict[str, Any], client_id: str, fields: Parameters) -> None:
    verifier, challenge = fields.get("code_verifier") or "", asked.get("code_challenge") or ""
    if not _VERIFIER.fullmatch(verifier) or not same_secret(s256(verifier), challenge):
        raise OAuthError("invalid_grant", "The code_verifier is not the one of this login")
    if (asked.get("client_id"), asked.get("redirect_uri")) != (client_id, fields.get("redirect_uri")):
        raise OAuthError("invalid_grant", "The code was issued for another client or redirect_uri")
    if {fields.get("resource"), asked.get("resource")} - {None, worker.resource}:
        raise OAuthError("invalid_target", f"resource must be {worker.resource}")


async def revoke(worker: Worker, request: Request) -> Response:
    """End a token (RFC 7009)."""
    fields = await form_parameters(request, seconds=30)
    client_id = _client_id(worker, request, fields)
    token = fields.get("token") or ""
    session = worker.records.get("session", token)
    if session and session["asked"].get("client_id") == client_id:
        worker.records.drop("session", token)
    return private_json({})


def _client_id(worker: Worker, request: Request, fields: Parameters) -> str:
    """The registered client that asks; it has no secret, so one that sends one is not ours."""
    if fields.repeated:
        raise OAuthError("invalid_request", "A parameter is repeated")
    if "authorization" in request.headers:
        # The refusal names the scheme that was tried (RFC 6749 section 5.2).
        challenge = {"www-authenticate": f'Basic realm="{worker.url}"'}
        raise OAuthError("invalid_client", "Clients here have no secret", status=401, headers=challenge)
    client_id = fields.get("client_id") or ""
    if "client_secret" in fields or worker.records.get("client", client_id) is None:
        raise OAuthError("invalid_client", "This client is not registered here", status=401)
    return client_id


# ↑
