"""Exercise 5: who gets to the tools, with which token, and from where?"""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from worker import SCOPES, Worker


# ↓ Your turn
def headers(worker: Worker) -> dict[str, str]:
    """What every answer carries."""
    return {"access-control-allow-origin": "*"}


def admit(worker: Worker, request: Request) -> Response | None:
    """The refusal of a request to whatever address, before anything else is looked at."""
    if request.method != "OPTIONS":
        return None
    allowed = {"methods": "GET, POST, OPTIONS", "headers": "Content-Type, Authorization"}
    return Response(headers={f"access-control-allow-{name}": value for name, value in allowed.items()})


async def metadata(worker: Worker, request: Request) -> Response:
    """The protected-resource metadata (RFC 9728), for clients that look for our authorization server."""
    if request.path_params["suffix"]:
        return JSONResponse({"error": "not_found"}, 404)
    document = {
        "resource": worker.resource,
        "authorization_servers": [worker.url],
        "bearer_methods_supported": ["header", "query"],
        "scopes_supported": SCOPES,
        "mcp_version": "2024-11-05",
    }
    return JSONResponse(document, headers={"cache-control": "public, max-age=3600"})


def session(worker: Worker, request: Request) -> dict[str, Any] | Response:
    """The session of the token that came with a request for `/mcp` or `/sse`; or the refusal."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token if scheme == "Bearer" else request.query_params.get("token", "")
    found = worker.records.get("session", token)
    if found is None:
        said = "Invalid token" if token else "Missing token"
        error = {"code": -32000, "message": said}
        return JSONResponse({"jsonrpc": "2.0", "id": None, "error": error}, 401)
    worker.log("request", login=found["login"], token=token)
    return found  # type: ignore[no-any-return]  # what was put there


# ↑
