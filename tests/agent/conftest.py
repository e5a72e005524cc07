"""Real servers for the agent's tests: any app on a local port, and an authorization server to misuse."""

import base64
import contextlib
import functools
import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import anyio
import httpx2
import pytest
from mcp import Client
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tests import serving
from workshop.agent.approval import ApproveAs
from workshop.agent.connect import connect
from workshop.agent.events import Event
from workshop.agent.listener import LoopbackListener
from workshop.agent.oauth import OAuthClient
from workshop.agent.token_store import TokenStore
from workshop.core.ports import free_port

Serve = Callable[[ASGIApp, int], AbstractAsyncContextManager[str]]


@pytest.fixture
def serve() -> Serve:
    return functools.partial(serving.serve, lifespan="on")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """State and settings of no one but this test."""
    monkeypatch.setenv("WORKSHOP_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@dataclass
class Authority:
    """A small authorization server and its protected resource; every rule a test may bend is a field."""

    url: str = ""
    authorization_server: dict[str, Any] = field(default_factory=dict)
    protected_resource: dict[str, Any] = field(default_factory=dict)
    callback: dict[str, Any] = field(default_factory=dict)
    challenge: str = ""
    metadata_redirect: str = ""
    approves: bool = True
    refreshes: bool = True
    refresh_status: int = 400
    always_insufficient: bool = False
    upstream_revoked: bool = False
    """The account behind a proxy has revoked its app: refreshed tokens are refused, a new login mends it."""
    access_seconds: int = 3600
    clients: set[str] = field(default_factory=set)
    codes: dict[str, str] = field(default_factory=dict)
    access: set[str] = field(default_factory=set)
    refresh: set[str] = field(default_factory=set)
    seen: list[str] = field(default_factory=list)
    resources: list[str] = field(default_factory=list)
    hold: Callable[[], Awaitable[None]] | None = None
    issued: dict[str, Any] = field(default_factory=dict)
    """Changes of the token endpoint's answer."""
    broken: dict[str, bytes] = field(default_factory=dict)
    """The body of a 400 of the token endpoint (`token`) or the registration endpoint (`register`)."""

    @property
    def resource(self) -> str:
        return f"{self.url}/mcp"

    def count(self, name: str) -> int:
        return self.seen.count(name)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/mcp", self._resource, methods=["GET", "POST"]),
                Route("/.well-known/oauth-protected-resource/mcp", self._protected_resource),
                Route("/.well-known/oauth-authorization-server", self._metadata),
                Route("/oauth/register", self._register, methods=["POST"]),
                Route("/oauth/authorize", self._authorize),
                Route("/oauth/token", self._token, methods=["POST"]),
            ]
        )

    async def _resource(self, request: Request) -> Response:
        self.seen.append("resource")
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.access:
            metadata = f"{self.url}/.well-known/oauth-protected-resource/mcp"
            challenge = self.challenge or f'Bearer resource_metadata="{metadata}", scope="repo"'
            return Response(status_code=401, headers={"www-authenticate": challenge})
        if self.always_insufficient:
            challenge = 'Bearer error="insufficient_scope", scope="repo admin"'
            return Response(status_code=403, headers={"www-authenticate": challenge})
        if self.hold:
            await self.hold()
        return JSONResponse({"hello": "world"})

    async def _protected_resource(self, _: Request) -> Response:
        self.seen.append("protected resource")
        metadata = {"resource": f"{self.url}/", "authorization_servers": [self.url]}
        return JSONResponse(metadata | self.protected_resource)

    async def _metadata(self, _: Request) -> Response:
        self.seen.append("metadata")
        if self.metadata_redirect:
            return RedirectResponse(self.metadata_redirect)
        metadata = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/oauth/authorize",
            "token_endpoint": f"{self.url}/oauth/token",
            "registration_endpoint": f"{self.url}/oauth/register",
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": ["repo", "offline_access"],
            "authorization_response_iss_parameter_supported": True,
        }
        return JSONResponse(_without_none(metadata | self.authorization_server))

    async def _register(self, request: Request) -> Response:
        self.seen.append("register")
        if "register" in self.broken:
            return Response(self.broken["register"], 400, media_type="application/json")
        wanted = await request.json()
        client_id = f"client-{len(self.clients) + 1}"
        self.clients.add(client_id)
        return JSONResponse(wanted | {"client_id": client_id}, status_code=201)

    async def _authorize(self, request: Request) -> Response:
        self.seen.append("authorize")
        query = request.query_params
        if query["client_id"] not in self.clients:
            return Response("Unknown client", status_code=400)
        code = secrets.token_urlsafe(8)
        self.codes[code] = query["code_challenge"]
        self.resources.append(query["resource"])
        answer = {"state": query["state"], "iss": self.url}
        answer |= {"code": code} if self.approves else {"error": "access_denied"}
        answer |= self.callback
        target = f"{query['redirect_uri']}?{urlencode(_without_none(answer), doseq=True)}"
        return RedirectResponse(target, status_code=303)

    async def _token(self, request: Request) -> Response:
        if "token" in self.broken:
            return Response(self.broken["token"], 400, media_type="application/json")
        form = await request.form()
        self.seen.append(str(form["grant_type"]))
        self.resources.append(str(form["resource"]))
        if form["client_id"] not in self.clients:
            return JSONResponse({"error": "invalid_client"}, status_code=401)
        if form["grant_type"] == "refresh_token":
            known = str(form["refresh_token"]) in self.refresh
            if not (known and self.refreshes):
                return JSONResponse({"error": "invalid_grant"}, status_code=self.refresh_status)
            self.refresh.discard(str(form["refresh_token"]))
            return self._issue(works=not self.upstream_revoked)
        if self.codes.pop(str(form["code"]), None) != _challenge_of(str(form["code_verifier"])):
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        self.upstream_revoked = False
        return self._issue(works=True)

    def _issue(self, *, works: bool) -> Response:
        access, refresh = f"practice_{secrets.token_hex(8)}", f"practice_refresh_{secrets.token_hex(8)}"
        if works:
            self.access.add(access)
        self.refresh.add(refresh)
        body: dict[str, Any] = {"access_token": access, "token_type": "bearer", "refresh_token": refresh}
        body |= {"expires_in": self.access_seconds, "scope": "repo offline_access"} | self.issued
        return JSONResponse(body)


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _challenge_of(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


@dataclass(frozen=True)
class Visit:
    """An approval that opens the page with a real HTTP client and follows it to the callback."""

    way: Literal["printed"] = "printed"
    user: str = ""

    async def start(self, url: str) -> None:
        async with httpx2.AsyncClient(follow_redirects=True) as browser:
            await browser.get(url)


@contextlib.asynccontextmanager
async def logged_in(url: str, logins: Path, approval: Any, **options: Any) -> AsyncIterator[Client]:
    """The SDK's client, after the agent's own login at a server."""
    async with LoopbackListener(free_port()) as listener:
        login = OAuthClient(
            url, listener=listener, approval=approval, tokens=TokenStore(logins), approval_seconds=200
        )
        async with connect(url, auth=login, seconds=60, **options) as client:
            yield client


async def log_in(url: str, logins: Path) -> str:
    """The access token of the agent's own login, as the practice user `learner`."""
    async with logged_in(url, logins, ApproveAs("learner")):
        pass
    login = TokenStore(logins).find(url)
    assert login
    assert login.tokens
    return login.tokens.access_token


@dataclass(frozen=True)
class NobodyComes:
    """An approval that nobody gives."""

    way: Literal["printed"] = "printed"
    user: str = ""

    async def start(self, url: str) -> None:
        await anyio.lowlevel.checkpoint()


@dataclass
class Session:
    """The agent's side of a login: run it anew for each restart of the agent."""

    authority: Authority
    store: TokenStore
    events: list[Event]
    approval: Any = Visit()
    approval_seconds: float = 10
    options: dict[str, Any] = field(default_factory=dict)
    limits: httpx2.Limits = field(default_factory=httpx2.Limits)

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[httpx2.AsyncClient]:
        async with LoopbackListener(free_port()) as listener:
            auth = OAuthClient(
                self.authority.resource,
                listener=listener,
                approval=self.approval,
                tokens=self.store,
                observe=self.events.append,
                approval_seconds=self.approval_seconds,
                **self.options,
            )
            async with httpx2.AsyncClient(auth=auth, limits=self.limits) as http:
                yield http

    async def get(self) -> httpx2.Response:
        async with self.client() as http:
            return await http.get(self.authority.resource)


@pytest.fixture
async def authority() -> AsyncIterator[Authority]:
    found = Authority()
    async with serving.serve(found.app(), lifespan="on") as url:
        found.url = url
        yield found


@pytest.fixture
def session(authority: Authority, tmp_path: Path) -> Session:
    events: list[Event] = []
    return Session(authority, TokenStore(tmp_path / "logins", events.append), events)


@pytest.fixture
def nobody_comes() -> object:
    return NobodyComes()
