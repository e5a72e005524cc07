"""ToolHive's remote proxy with its authorization server and memory storage, as our clients meet it.

`consents` tells the two apart that are on clusters: True as 0.63.0 (a consent page tied to origin and
browser, one JSON-RPC envelope a POST, `resource` judged at authorize), False as 0.44.0. From ToolHive's
`pkg/authserver/server/handlers` and `pkg/auth`; tests/toolhive_real asks the real one.
"""

import base64
import hashlib
import html
import json
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

APP = "practice-workshop-app"
SECRET = "practice-client-secret"
SCOPES = "openid profile email offline_access"
_OTHER_BROWSER = "sign-in must be completed in the browser that started it"
_NOT_OURS = {"host", "authorization", "content-length", "accept-encoding"}
_HOP = {"content-length", "transfer-encoding", "connection", "content-encoding"}
_PAGE = """<!DOCTYPE html><form method="POST" action="{action}">
<input type="hidden" name="handle" value="{handle}">
<button type="submit" name="decision" value="deny">Deny</button>
<button type="submit" name="decision" value="approve">Approve</button></form>"""


@dataclass
class Pending:
    """An authorization request, and the secret of the browser that it is tied to."""

    query: Mapping[str, str]
    browser: str
    verifier: str = ""


@dataclass
class ToolHive:
    """One proxy at `url` before the practice GitHub; `seen` are the requests it got, `posts` their bodies."""

    url: str
    practice: str
    consents: bool
    seen: list[str] = field(default_factory=list)
    posts: list[Any] = field(default_factory=list)
    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", private=True))

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new pod: the keys are in Secrets, everything else was in memory."""
        self.clients: dict[str, list[str]] = {}
        self.pending: dict[str, Pending] = {}
        self.codes: dict[str, tuple[Mapping[str, str], str]] = {}
        self.refreshes: dict[str, tuple[str, str]] = {}
        self.upstream: dict[str, str] = {}

    @property
    def kid(self) -> str:
        return str(self.key.thumbprint())

    def app(self) -> Starlette:
        routes = [
            Route("/health", lambda _: PlainTextResponse("OK")),
            Route("/.well-known/oauth-protected-resource", self._resource),
            Route("/.well-known/oauth-authorization-server", self._metadata),
            Route("/.well-known/jwks.json", self._keys),
            Route("/oauth/register", self._register, methods=["POST"]),
            Route("/oauth/authorize", self._authorize),
            Route("/oauth/callback", self._callback),
            Route("/oauth/token", self._token, methods=["POST"]),
            Route("/mcp", self._mcp, methods=["GET", "POST", "DELETE"]),
        ]
        if self.consents:
            routes.append(Route("/oauth/consent", self._consent, methods=["POST"]))
        return Starlette(routes=routes)

    def _resource(self, _: Request) -> Response:
        document = {"resource": f"{self.url}/", "authorization_servers": [self.url]}
        return JSONResponse(document | {"scopes_supported": SCOPES.split()})

    def _metadata(self, _: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/oauth/authorize",
                "token_endpoint": f"{self.url}/oauth/token",
                "registration_endpoint": f"{self.url}/oauth/register",
                "jwks_uri": f"{self.url}/.well-known/jwks.json",
                "response_types_supported": ["code"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["none"],
                "scopes_supported": SCOPES.split(),
            }
        )

    def _keys(self, _: Request) -> Response:
        public = self.key.as_dict(private=False)
        return JSONResponse({"keys": [{**public, "kid": self.kid, "alg": "ES256", "use": "sig"}]})

    async def _register(self, request: Request) -> Response:
        self.seen.append("register")
        wanted = await request.json()
        client_id = secrets.token_hex(8)
        self.clients[client_id] = wanted["redirect_uris"]
        return JSONResponse({**wanted, "client_id": client_id}, 201)

    def _authorize(self, request: Request) -> Response:
        self.seen.append("authorize")
        query = dict(request.query_params)
        if query["client_id"] not in self.clients:
            return JSONResponse({"error": "invalid_client"}, 401)
        if not any(self._matches(uri, query["redirect_uri"]) for uri in self.clients[query["client_id"]]):
            return JSONResponse({"error": "invalid_request"}, 400)
        if not self.consents:
            return self._to_upstream(query)
        if query.get("resource", f"{self.url}/") != f"{self.url}/":
            return _back(query, error="invalid_target")
        handle, browser = secrets.token_hex(8), secrets.token_hex(8)
        self.pending[handle] = Pending(query, browser)
        page = _PAGE.format(action=html.escape(f"{self.url}/oauth/consent"), handle=handle)
        headers = {"referrer-policy": "same-origin", "x-frame-options": "DENY"}
        return _tied(HTMLResponse(page, headers=headers), handle, browser)

    def _matches(self, registered: str, asked: str) -> bool:
        if not self.consents:
            return registered == asked  # a port of `localhost` may vary since 0.45 only
        known, wanted = urlsplit(registered), urlsplit(asked)
        return (known.hostname, known.path) == (wanted.hostname, wanted.path)

    async def _consent(self, request: Request) -> Response:
        self.seen.append("consent")
        if request.headers.getlist("origin") != [self.url]:
            return PlainTextResponse("invalid origin", 403)
        form = parse_qs((await request.body()).decode())
        if form.keys() != {"handle", "decision"} or any(len(values) > 1 for values in form.values()):
            return PlainTextResponse("invalid form", 400)
        handle = form["handle"][0]
        pending = self.pending.get(handle)
        if pending is None:
            return PlainTextResponse("authorization request not found or expired", 400)
        if request.cookies.get(_cookie(handle)) != pending.browser:
            return PlainTextResponse(_OTHER_BROWSER, 400)
        del self.pending[handle]
        approved = form["decision"] == ["approve"]
        return self._to_upstream(pending.query) if approved else _back(pending.query, error="access_denied")

    def _to_upstream(self, query: Mapping[str, str]) -> Response:
        state, browser, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        self.pending[state] = Pending(query, browser, verifier)
        asked = {
            "response_type": "code",
            "client_id": APP,
            "redirect_uri": f"{self.url}/oauth/callback",
            "scope": "repo read:org read:user user:email",
            "state": state,
            "code_challenge": _hashed(verifier),
            "code_challenge_method": "S256",
        }
        away = _away(f"{self.practice}/login/oauth/authorize", asked)
        return _tied(away, state, browser) if self.consents else away

    async def _callback(self, request: Request) -> Response:
        self.seen.append("callback")
        state = request.query_params.get("state", "")
        pending = self.pending.get(state)
        if pending is None:
            return PlainTextResponse("authorization request not found or expired", 400)
        if self.consents and request.cookies.get(_cookie(state)) != pending.browser:
            return PlainTextResponse(_OTHER_BROWSER, 400)
        del self.pending[state]
        form = {
            "client_id": APP,
            "client_secret": SECRET,
            "code": request.query_params["code"],
            "redirect_uri": f"{self.url}/oauth/callback",
            "code_verifier": pending.verifier,
        }
        async with httpx2.AsyncClient(headers={"accept": "application/json"}) as http:
            answer = await http.post(f"{self.practice}/login/oauth/access_token", data=form)
        session, code = secrets.token_hex(8), secrets.token_urlsafe(32)
        self.upstream[session] = answer.json()["access_token"]
        self.codes[code] = (pending.query, session)
        return _back(pending.query, code=code)

    async def _token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        self.seen.append(form["grant_type"])
        if form["client_id"] not in self.clients:
            return JSONResponse({"error": "invalid_client"}, 401)
        if form.get("resource", f"{self.url}/") != f"{self.url}/":
            return JSONResponse({"error": "invalid_target"}, 400)
        if form["grant_type"] == "refresh_token":
            client, session = self.refreshes.pop(form["refresh_token"], ("", ""))
            if client != form["client_id"] or (self.consents and session not in self.upstream):
                return JSONResponse({"error": "invalid_grant"}, 400)
            return self._issue(client, session)
        query, session = self.codes.pop(form["code"], ({}, ""))
        if not query or query["code_challenge"] != _hashed(form["code_verifier"]):
            return JSONResponse({"error": "invalid_grant"}, 400)
        return self._issue(form["client_id"], session)

    def _issue(self, client: str, session: str) -> Response:
        claims = {
            "iss": self.url,
            "aud": [f"{self.url}/"],
            "sub": secrets.token_hex(4),
            "client_id": client,
            "tsid": session,
            "jti": secrets.token_hex(4),
            "iat": int(time.time()),
            "exp": int(time.time()) + 3600,
            "scp": SCOPES.split(),
        }
        access = jwt.encode({"alg": "ES256", "kid": self.kid, "typ": "JWT"}, claims, self.key)
        refresh = secrets.token_urlsafe(32)
        self.refreshes[refresh] = (client, session)
        body = {"access_token": access, "token_type": "bearer", "refresh_token": refresh}
        return JSONResponse({**body, "expires_in": 3600, "scope": SCOPES})

    async def _mcp(self, request: Request) -> Response:
        body = await request.body()
        sent = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not sent:
            return self._challenge(f'scope="{SCOPES}", error="invalid_request"')
        try:
            session = jwt.decode(sent, self.key, algorithms=["ES256"]).claims["tsid"]
        except (JoseError, ValueError):
            return self._challenge('error="invalid_token"')
        if session not in self.upstream:
            return self._lost()
        if request.method == "POST":
            self.posts.append(json.loads(body))
            if self.consents and not _is_envelope(self.posts[-1]):
                refused = {"code": -32600, "message": "Invalid Request"}
                return JSONResponse({"jsonrpc": "2.0", "id": None, "error": refused}, 400)
        return await self._forwarded(request, body, self.upstream[session])

    def _challenge(self, more: str) -> Response:
        metadata = f"{self.url}/.well-known/oauth-protected-resource"
        told = f'Bearer realm="{self.url}", resource_metadata="{metadata}", {more}'
        return JSONResponse({"error": "unauthorized"}, 401, {"www-authenticate": told})

    def _lost(self) -> Response:
        if self.consents:
            return self._challenge('error="invalid_token"')
        return JSONResponse({}, 401, {"www-authenticate": 'Bearer error="invalid_token"'})

    async def _forwarded(self, request: Request, body: bytes, token: str) -> Response:
        headers = {name: value for name, value in request.headers.items() if name not in _NOT_OURS}
        http = httpx2.AsyncClient(timeout=60)
        own = headers | {"authorization": f"Bearer {token}"}
        sent = http.build_request(request.method, f"{self.practice}/mcp/", headers=own, content=body)
        answer = await http.send(sent, stream=True)
        kept = {name: value for name, value in answer.headers.items() if name not in _HOP}

        async def over() -> None:
            await answer.aclose()
            await http.aclose()

        return StreamingResponse(_bytes(answer), answer.status_code, kept, background=BackgroundTask(over))


async def _bytes(answer: httpx2.Response) -> AsyncIterator[bytes]:
    async for chunk in answer.aiter_bytes():
        yield chunk


def _is_envelope(message: Any) -> bool:
    """One JSON-RPC message, as `pkg/mcp` reads it since 0.55: no batch, no null for what is left out."""
    if not isinstance(message, dict) or not isinstance(message.get("params", {}), dict):
        return False
    return "id" not in message or isinstance(message["id"], str) or type(message["id"]) is int


def _hashed(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def _cookie(state: str) -> str:
    return f"thv_authz_{hashlib.sha256(state.encode()).hexdigest()[:16]}"


def _tied(response: Response, state: str, browser: str) -> Response:
    response.set_cookie(_cookie(state), browser, max_age=600, path="/", httponly=True, samesite="lax")
    return response


def _back(query: Mapping[str, str], **answer: str) -> Response:
    return _away(query["redirect_uri"], {**answer, "state": query["state"]})


def _away(url: str, query: Mapping[str, str]) -> Response:
    return Response(status_code=303, headers={"location": f"{url}?{urlencode(query)}"})
