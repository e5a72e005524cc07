"""A small MCP server with an authorization server, secure until a test opens a hole. Loopback only."""

import base64
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PRM = "/.well-known/oauth-protected-resource"
NO_STORE = {"cache-control": "no-store"}
PAGE = {
    **NO_STORE,
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}


class WeakServer:
    """Routes of one server; `holes` are open, `requests` came in, `clients` are registered."""

    def __init__(self, port: int) -> None:
        self.origin = f"http://localhost:{port}"
        self.holes: set[str] = set()
        self.requests: list[Request] = []
        self.clients: dict[str, Any] = {}
        self.sessions: set[str] = set()
        self.nonsense: list[object] = []

    def reset(self) -> None:
        for memory in (self.holes, self.requests, self.clients, self.sessions, self.nonsense):
            memory.clear()

    @property
    def issuer(self) -> str:
        return self.origin.replace("localhost", "127.0.0.1" if self.has("issuer elsewhere") else "localhost")

    def has(self, hole: str) -> bool:
        return hole in self.holes

    async def mcp(self, request: Request) -> Response:
        refused = self._guard(request)
        if refused is not None:
            return refused
        if request.method == "OPTIONS":
            return JSONResponse({}, 405)
        if request.method == "DELETE":
            self.sessions.discard(request.headers["mcp-session-id"])
            return Response(status_code=204)
        if request.method == "GET":
            return self._get(request)
        call = await request.json()
        if not self._let_in(request, call["method"]):
            return self._unauthorized(request)
        return self._result(call)

    def _guard(self, request: Request) -> Response | None:
        if f"http://{request.headers['host']}" != self.origin and not self.has("any host"):
            return JSONResponse({"error": "misdirected_request"}, 421)
        foreign = request.headers.get("origin") not in {None, self.origin}
        if foreign and not self.holes & {"any origin", "cors"}:
            return JSONResponse({"error": "forbidden_origin"}, 403)
        if self.has("moved to nowhere"):
            return Response(status_code=307, headers={"location": "http://["})
        moved = request.url.path == "/mcp" and self.has("moved")
        if moved or self.has("moved away"):
            return RedirectResponse(f"{self.origin}/moved" if moved else "http://other.example/mcp")
        return None

    def _get(self, request: Request) -> Response:
        if self.has("open stream"):
            return StreamingResponse(_events(), media_type="text/event-stream")
        if self.has("page for get"):
            return HTMLResponse("<h1>Hello</h1>")
        return JSONResponse({}, 405) if self.has("open") else self._unauthorized(request)

    def _let_in(self, request: Request, method: str) -> bool:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if self.has("token in query is accepted"):
            token = token or request.query_params.get("access_token", "")
        return (
            self.has("open")
            or (self.has("open announcing") and method == "server/discover")
            or (self.has("open initialize") and method == "initialize")
            or (self.has("any token") and kind == "Bearer")
            or (bool(self.holes & {"alg none", "token in query is accepted"}) and _has_algorithm_none(token))
        )

    def _result(self, call: Mapping[str, Any]) -> Response:
        headers = {}
        if call["method"] == "initialize":
            session = "17" if self.has("guessable session") else secrets.token_hex(16)
            self.sessions.add(session)
            headers["mcp-session-id"] = session
        elif self.has("handshake only"):
            error = {"code": -32601, "message": "Method not found"}
            return JSONResponse({"jsonrpc": "2.0", "id": call["id"], "error": error}, 404)
        return JSONResponse({"jsonrpc": "2.0", "id": call["id"], "result": {}}, headers=headers)

    def _unauthorized(self, request: Request) -> Response:
        sent = "authorization" in request.headers
        if self.has("token in query is read"):
            sent = sent or "access_token" in request.query_params
        base = f"http://{request.headers['host']}" if self.has("any host") else self.origin
        parts = {"resource_metadata": base + PRM, "scope": "read"}
        if self.has("bare challenge"):
            del parts["resource_metadata"]
        if self.has("no scope"):
            del parts["scope"]
        if (sent and not self.has("no error for a bad token")) or self.has("error without a token"):
            parts["error"] = "invalid_token"
        challenge = "Bearer " + ", ".join(f'{name}="{value}"' for name, value in parts.items())
        headers = {} if self.has("no challenge") else {"www-authenticate": challenge}
        return JSONResponse({"error": "unauthorized"}, 403 if self.has("403") else 401, headers)

    async def protected_resource(self, request: Request) -> Response:
        below = request.url.path != PRM
        if self.has("no prm") or (below and self.has("prm at the root only")):
            return JSONResponse({}, 404)
        if self.has("open") and not self.has("open announcing"):
            return JSONResponse({}, 404)
        issuer = self.issuer
        if self.nonsense and not self.has("own issuer"):
            names = ["resource", "authorization_servers", "bearer_methods_supported", "scopes_supported"]
            return _json(dict.fromkeys(names, self.nonsense[0]))
        return JSONResponse(
            {
                "padding": "x" * (4 * 1024 * 1024 if self.has("huge metadata") else 0),
                "resource": "https://other.example/mcp"
                if self.has("other resource")
                else f"{self.origin}/mcp",
                "authorization_servers": [] if self.has("no issuer") else [issuer],
                "bearer_methods_supported": ["header", "query"] if self.has("query method") else ["header"],
                "scopes_supported": ["read", "offline_access"] if self.has("offline access") else ["read"],
            }
        )

    async def metadata(self, request: Request) -> Response:
        if self.has("no metadata") or (self.has("oidc only") and "openid" not in request.url.path):
            return JSONResponse({}, 404)
        issuer = self.issuer
        document: dict[str, object] = {
            "issuer": f"{issuer}/" if self.has("slash behind the issuer") else issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
            "registration_endpoint": f"{issuer}/register",
            "revocation_endpoint": f"{issuer}/revoke",
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "authorization_response_iss_parameter_supported": True,
        }
        self._spoil(document)
        if self.nonsense:
            correct = {"issuer"} if self.has("own issuer") else set()
            document |= dict.fromkeys(document.keys() - correct, self.nonsense[0])
        return _json(document)

    def _spoil(self, document: dict[str, object]) -> None:
        changes: dict[str, tuple[str, object]] = {
            "no pkce": ("code_challenge_methods_supported", None),
            "plain pkce": ("code_challenge_methods_supported", ["S256", "plain"]),
            "no public clients": ("token_endpoint_auth_methods_supported", None),
            "no iss": ("authorization_response_iss_parameter_supported", None),
            "no registration": ("registration_endpoint", None),
            "no revocation": ("revocation_endpoint", None),
            "password grant": ("grant_types_supported", ["authorization_code", "password"]),
            "implicit grant": ("response_types_supported", ["code", "token"]),
            "grants left out": ("grant_types_supported", None),
            "plain http": ("jwks_uri", "http://keys.example/jwks"),
            "no token endpoint": ("token_endpoint", None),
        }
        for hole, (name, value) in changes.items():
            if self.has(hole):
                document[name] = value
                if value is None:
                    del document[name]

    async def page(self, request: Request) -> Response:
        return HTMLResponse("No server here \x1b[31m")

    async def moved(self, request: Request) -> Response:
        return self._guard(request) or self._unauthorized(request)

    async def register(self, request: Request) -> Response:
        headers = {} if self.has("stored registration") else NO_STORE
        if self.has("registration crashes"):
            return JSONResponse({"error": "server_error"}, 500, headers)
        if not self.holes & {"any redirect", "any redirect, deletable"}:
            return JSONResponse({"error": "invalid_redirect_uri"}, 400, headers)
        self.clients["made-here"] = await request.json()
        answer = {"client_id": "made-here"}
        if self.has("any redirect, deletable"):
            answer |= {
                "registration_client_uri": f"{self.origin}/register/made-here",
                "registration_access_token": "practice_registration",
            }
        return JSONResponse(answer, 201, headers)

    async def unregister(self, request: Request) -> Response:
        if request.headers.get("authorization") == "Bearer practice_registration":
            del self.clients["made-here"]
        return Response(status_code=204)

    async def token(self, request: Request) -> Response:
        headers = {} if self.has("stored token answers") else NO_STORE
        if self.has("any grant"):
            return JSONResponse({"access_token": "practice_token", "token_type": "Bearer"}, 200, headers)
        if self.has("token page"):
            return Response("Bad Request", 400, headers, "text/plain")
        if self.has("stack trace"):
            return Response("Traceback (most recent call last):\n  …", 500, headers, "text/plain")
        form = request.headers["content-type"] == "application/x-www-form-urlencoded"
        error = "unsupported_grant_type" if form or self.has("json") else "invalid_request"
        return JSONResponse({"error": error}, 400, headers)

    async def authorize(self, request: Request) -> Response:
        redirect_uri = request.query_params["redirect_uri"]
        if self.has("broken redirect"):
            return Response(status_code=302, headers={"location": "http://["})
        if self.has("open redirect"):
            query = urlencode({"error": "unauthorized_client"})
            return Response(status_code=302, headers={"location": f"{redirect_uri}?{query}"})
        if self.has("straight to the upstream"):
            return Response(status_code=302, headers={"location": "https://upstream.example/authorize"})
        if self.has("consent for anybody"):
            return HTMLResponse(f"Go on to {redirect_uri}?", headers=PAGE)
        if self.has("login first"):
            return Response(status_code=302, headers={"location": "/login"})
        headers = dict(PAGE)
        if self.has("framed"):
            headers |= {"content-security-policy": "default-src 'none'", "x-frame-options": ""}
        if self.has("referrer"):
            del headers["referrer-policy"]
        if self.has("open cookie"):
            headers["set-cookie"] = "flow=1; Path=/"
        return HTMLResponse("Unknown client", 400, headers)


def _has_algorithm_none(token: str) -> bool:
    try:
        head, _, _ = token.split(".")
        return bool(json.loads(base64.urlsafe_b64decode(head + "=="))["alg"] == "none")
    except ValueError:
        return False


def _json(document: object) -> Response:
    """JSON with escapes: Starlette's own cannot write half a surrogate pair."""
    return Response(json.dumps(document), media_type="application/json")


async def _events() -> AsyncIterator[bytes]:
    yield b": welcome\n\n"


class _Headers:
    """Adds the headers that every answer should have, and records the requests."""

    def __init__(self, app: ASGIApp, server: WeakServer) -> None:
        self._app = app
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._server.requests.append(Request(scope))

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._more()]
            await send(message)

        await self._app(scope, receive, sending)

    def _more(self) -> list[tuple[bytes, bytes]]:
        more = []
        if not self._server.has("sniffed"):
            more.append((b"x-content-type-options", b"nosniff"))
        if self._server.has("version"):
            more.append((b"server", b"WeakServer/1.2.3"))
        if self._server.has("cors"):
            more.append((b"access-control-allow-origin", b"*"))
        return more


def weak_app(server: WeakServer) -> ASGIApp:
    """The ASGI application of one weak server."""
    metadata = ["oauth-authorization-server", "openid-configuration"]
    routes = [
        Route("/mcp", server.mcp, methods=["GET", "POST", "DELETE", "OPTIONS"]),
        Route(PRM, server.protected_resource),
        Route(f"{PRM}/mcp", server.protected_resource),
        *(Route(f"/.well-known/{name}", server.metadata) for name in metadata),
        Route("/register", server.register, methods=["POST"]),
        Route("/register/made-here", server.unregister, methods=["DELETE"]),
        Route("/token", server.token, methods=["POST"]),
        Route("/authorize", server.authorize),
        Route("/page", server.page, methods=["GET", "POST"]),
        Route("/moved", server.moved, methods=["GET", "POST", "DELETE", "OPTIONS"]),
    ]
    return _Headers(Starlette(routes=routes), server)
