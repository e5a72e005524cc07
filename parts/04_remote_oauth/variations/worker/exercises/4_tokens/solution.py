"""Exercise 4: who gets a token for a code, and how does a token end?"""

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from worker import SCOPES, Worker

from workshop.auth import (
    SECRET_METHODS,
    OAuthError,
    Parameters,
    check_credentials,
    form_parameters,
    private_json,
    random_token,
    read_credentials,
    refused_client,
    s256,
    same_secret,
)

_HOUR, _MONTH = 3600, 30 * 24 * 3600
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_METHODS = ["none", *SECRET_METHODS]


def metadata(url: str) -> dict[str, object]:
    """What this group adds to the server's metadata."""
    return {
        "token_endpoint": f"{url}/token",
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": _METHODS,
        "revocation_endpoint": f"{url}/revoke",
        "revocation_endpoint_auth_methods_supported": _METHODS,
    }


# ↓ A code or a refresh token is taken before it is checked, so it works once, and only with all that it was
#   made for. If it comes a second time, somebody has stolen it, and everything issued after it ends.
async def token(worker: Worker, request: Request) -> Response:
    """Exchange a code or a refresh token for an access token."""
    fields = await form_parameters(request, seconds=30)
    client_id = _client_id(worker, request, fields)
    kinds = {"authorization_code": "code", "refresh_token": "refresh"}
    kind = kinds.get(fields.get("grant_type") or "")
    if kind is None:
        raise OAuthError("unsupported_grant_type", "Use authorization_code or refresh_token")
    given = fields.get("code" if kind == "code" else "refresh_token") or ""
    grant = worker.records.take(kind, given)
    if grant is None:
        _end_all_after(worker, given)
        raise OAuthError("invalid_grant", f"The {kind} is unknown, expired or was used before")
    asked = grant["asked"]
    if asked.get("client_id") != client_id:
        raise OAuthError("invalid_grant", "It was issued to another client")
    if {fields.get("resource"), asked.get("resource")} - {None, worker.resource}:
        raise OAuthError("invalid_target", f"resource must be {worker.resource}")
    if kind == "code":
        _check_login(asked, fields)
    return _issued(worker, given, grant)


def _check_login(asked: dict[str, Any], fields: Parameters) -> None:
    verifier, challenge = fields.get("code_verifier") or "", asked.get("code_challenge") or ""
    if not _VERIFIER.fullmatch(verifier) or not same_secret(s256(verifier), challenge):
        raise OAuthError("invalid_grant", "The code_verifier is not the one of this login")
    if asked.get("redirect_uri") != fields.get("redirect_uri"):
        raise OAuthError("invalid_grant", "The code was issued for another redirect_uri")


def _issued(worker: Worker, spent: str, grant: dict[str, Any]) -> Response:
    """A new pair of tokens; the access token that the last refresh token came with ends."""
    access, refresh = random_token(), random_token()
    worker.records.drop("session", grant.pop("session", ""))
    worker.records.put("session", access, {**grant, "refresh": refresh}, _HOUR)
    worker.records.put("refresh", refresh, {**grant, "session": access}, _MONTH)
    worker.records.put("spent", spent, {"session": access, "refresh": refresh}, _MONTH)
    answer = {"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": _HOUR}
    worker.log("token issued", login=grant["login"], client_id=grant["asked"].get("client_id"), **answer)
    return private_json({**answer, "scope": " ".join(SCOPES)})


def _end_all_after(worker: Worker, spent: str) -> None:
    while issued := worker.records.take("spent", spent):
        worker.records.drop("session", issued["session"])
        worker.records.drop("refresh", issued["refresh"])
        spent = issued["refresh"]


async def revoke(worker: Worker, request: Request) -> Response:
    """End a login by one of its tokens (RFC 7009)."""
    fields = await form_parameters(request, seconds=30)
    client_id = _client_id(worker, request, fields)
    token = fields.get("token") or ""
    login = worker.records.get("session", token) or worker.records.get("refresh", token)
    if login and login["asked"].get("client_id") == client_id:
        worker.records.drop("session", login.get("session", token))
        worker.records.drop("refresh", login.get("refresh", token))
    return private_json({})


def _client_id(worker: Worker, request: Request, fields: Parameters) -> str:
    """The registered client that asks, with its secret if it has one."""
    sent = read_credentials(request, fields, worker.url)
    client = worker.records.get("client", sent.client_id)
    if client is None:
        challenge = "authorization" in request.headers
        raise refused_client("This client is not registered here", worker.url, challenge=challenge)
    method = client["token_endpoint_auth_method"]
    check_credentials(sent, method, client.get("secret_digest"), worker.url)
    return sent.client_id


# ↑
