"""Exercise 5: who gets to the tools, with which token, and from where?"""

from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from worker import SCOPES, Worker

from workshop.auth import Challenge, RefusedError, private_json

_PRM = "/.well-known/oauth-protected-resource"


# ↓ No page of others gets in; a token comes in the header, was made for us, and who has none learns where.
def headers(worker: Worker) -> dict[str, str]:
    """What every answer carries."""
    del worker
    return {"x-content-type-options": "nosniff"}


def admit(worker: Worker, request: Request) -> Response | None:
    """The refusal of a request to whatever address, before anything else is looked at."""
    if request.headers.getlist("host") != [urlsplit(worker.url).netloc]:
        refusal = {
            "error": "misdirected_request",
            "error_description": f"This server answers at {worker.url}",
        }
        return private_json(refusal, status=421)
    if not {worker.url}.issuperset(request.headers.getlist("origin")):
        refusal = {
            "error": "forbidden_origin",
            "error_description": "Requests of other web pages are refused",
        }
        return private_json(refusal, status=403)
    return None


async def metadata(worker: Worker, request: Request) -> Response:
    """The protected-resource metadata (RFC 9728), for clients that look for our authorization server."""
    if request.path_params["suffix"].rstrip("/") not in {"", "/mcp"}:
        return private_json({"error": "not_found"}, status=404)
    document = {
        "resource": worker.resource,
        "authorization_servers": [worker.url],
        "bearer_methods_supported": ["header"],
        "scopes_supported": SCOPES,
    }
    return JSONResponse(document, headers={"cache-control": "public, max-age=3600"})


def session(worker: Worker, request: Request) -> dict[str, Any] | Response:
    """The session of the token that came with a request for `/mcp` or `/sse`; or the refusal."""
    challenge = Challenge(worker.url, f"{worker.url}{_PRM}/mcp", SCOPES)
    try:
        found: dict[str, Any] | None = worker.records.get("session", challenge.token_in(request.headers))
        if found is None or found["asked"].get("resource") != worker.resource:
            raise challenge.bad_token()
    except RefusedError as refused:
        return refused.response
    worker.log("request", login=found["login"])
    return found


# ↑
