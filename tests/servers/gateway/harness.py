"""A gateway to test: its configuration on disk, a browser that follows it, and servers on free ports."""

import asyncio
import base64
import hashlib
import json
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx2
import uvicorn
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starlette.types import ASGIApp

from tests.servers.gateway.reading import form_in, origin_of, query_of
from workshop.auth.client_documents import Fetch
from workshop.auth.limits import Patience
from workshop.core.ports import bind_loopback, free_port
from workshop.core.serving import LastResort
from workshop.servers.gateway.app import create_app
from workshop.servers.gateway.config import GatewayConfig, load
from workshop.servers.gateway.http_protocol import StrictProtocol

ISSUER = "http://localhost:8080"
RESOURCE = "http://localhost:8080/"
ENDPOINT = "http://localhost:8080/mcp"
CALLBACK = "http://localhost:8765/callback"
PRACTICE_CLIENT = "practice-workshop-app"
PRACTICE_SECRET = "practice-client-secret"
VERIFIER = "a-verifier-of-the-right-length-for-pkce-s256-0123"
PATIENT = Patience()
"""As in service: a slow machine must not look like a slow upstream."""
DEADLINE = 60.0
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Reading the system's certificates costs 50 ms a client, and all of ours speak plain HTTP to loopback."""


def s256(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


@dataclass
class Clock:
    """Seconds that pass only when a test says so."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def ec_pem(curve: ec.EllipticCurve | None = None) -> bytes:
    key = ec.generate_private_key(curve or ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def settings(folder: Path, *, upstream: str = "http://localhost:8090", port: int = 8080) -> dict[str, Any]:
    """A complete configuration, its secrets written below `folder`."""
    files = {"key.pem": ec_pem(), "hmac": b"h" * 48, "client": PRACTICE_SECRET.encode()}
    for name, data in files.items():
        if not (folder / name).exists():
            (folder / name).write_bytes(data)
    issuer = f"http://localhost:{port}"
    return {
        "name": "github-remote",
        "port": port,
        "remote_url": f"{upstream}/mcp/",
        "store": str(folder / "store.sqlite"),
        "header_forward": {},
        "header_forward_files": {},
        "tools": None,
        "auth": {
            "issuer": issuer,
            "audience": f"{issuer}/",
            "resource_url": f"{issuer}/",
            "scopes": ["openid", "profile", "email", "offline_access"],
            "signing_key_files": [str(folder / "key.pem")],
            "hmac_files": [str(folder / "hmac")],
            "access_token_seconds": 3600,
            "refresh_token_seconds": 604800,
            "code_seconds": 600,
            "upstream": {
                "name": "github",
                "authorization_endpoint": f"{upstream}/login/oauth/authorize",
                "token_endpoint": f"{upstream}/login/oauth/access_token",
                "client_id": PRACTICE_CLIENT,
                "client_secret_file": str(folder / "client"),
                "redirect_uri": f"{issuer}/oauth/callback",
                "scopes": ["repo", "read:org", "read:user", "user:email"],
                "userinfo": {
                    "url": f"{upstream}/user",
                    "method": "GET",
                    "headers": {"Accept": "application/vnd.github+json"},
                    "subject_fields": ["id", "login"],
                    "name_fields": ["name", "login"],
                    "email_fields": ["email"],
                },
            },
        },
    }


def configured(folder: Path, values: dict[str, Any]) -> GatewayConfig:
    path = folder / "gateway.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return load(path)


@asynccontextmanager
async def started(app: ASGIApp) -> AsyncIterator[None]:
    """Run an application's lifespan around a test that speaks to it in memory."""
    to_app: asyncio.Queue[Any] = asyncio.Queue()
    from_app: asyncio.Queue[Any] = asyncio.Queue()
    scope: dict[str, Any] = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    lifespan = cast(Coroutine[Any, Any, None], app(scope, to_app.get, from_app.put))
    running = asyncio.create_task(lifespan)
    await to_app.put({"type": "lifespan.startup"})
    assert (await from_app.get())["type"] == "lifespan.startup.complete"
    try:
        yield
    finally:
        await to_app.put({"type": "lifespan.shutdown"})
        await from_app.get()
        await running


class _Server(uvicorn.Server):
    """A uvicorn that says when it listens."""

    def __init__(self, app: ASGIApp, when_ready: Callable[[], object]) -> None:
        super().__init__(
            uvicorn.Config(
                LastResort(app),
                http=StrictProtocol,
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._when_ready = when_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._when_ready()


@asynccontextmanager
async def served(app: ASGIApp, port: int) -> AsyncIterator[str]:
    """Serve an application over real HTTP in this event loop."""
    ready = asyncio.Event()
    server = _Server(app, ready.set)
    running = asyncio.create_task(server.serve(sockets=bind_loopback(port)))
    await asyncio.wait_for(ready.wait(), DEADLINE)
    try:
        yield f"http://localhost:{port}"
    finally:
        server.should_exit = True
        await running


@contextmanager
def in_thread(app: ASGIApp, port: int) -> Iterator[str]:
    """Serve an application over real HTTP in a thread of its own, for a whole test session."""
    ready = threading.Event()
    server = _Server(app, ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": bind_loopback(port)})
    thread.start()
    assert ready.wait(DEADLINE)
    try:
        yield f"http://localhost:{port}"
    finally:
        server.should_exit = True
        thread.join(DEADLINE)


@asynccontextmanager
async def upstream_of(*routes: web.RouteDef) -> AsyncIterator[str]:
    """A small upstream that does what the practice GitHub never would."""
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@dataclass
class SignedIn:
    """What a client holds after a sign-in."""

    client_id: str
    answer: dict[str, Any]

    @property
    def access_token(self) -> str:
        return str(self.answer["access_token"])

    @property
    def refresh_token(self) -> str:
        return str(self.answer["refresh_token"])

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access_token}"}


@dataclass
class Site:
    """One gateway, a client of it, and the browser of the person at the keyboard."""

    app: ASGIApp
    config: GatewayConfig
    clock: Clock
    url: str
    http: httpx2.AsyncClient
    browser: httpx2.AsyncClient

    def another_browser(self) -> httpx2.AsyncClient:
        return _client(self.app, self.url, in_memory=self.url == ISSUER)

    async def register(self, **metadata: Any) -> str:
        answer = await self.register_response(**metadata)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["client_id"])

    async def register_response(self, **metadata: Any) -> httpx2.Response:
        self.clock.now += 1  # the rate limit is one a second
        document = {"client_name": "A test client", "redirect_uris": [CALLBACK], **metadata}
        return await self.http.post(
            "/oauth/register", json={k: v for k, v in document.items() if v is not None}
        )

    def authorize_parameters(self, client_id: str, **changes: str | None) -> dict[str, str]:
        parameters: dict[str, str | None] = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": CALLBACK,
            "code_challenge": s256(VERIFIER),
            "code_challenge_method": "S256",
            "state": "the-client-state",
            "scope": "openid profile email offline_access",
            "resource": f"{self.url}/",
            **changes,
        }
        return {name: value for name, value in parameters.items() if value is not None}

    async def authorize(self, client_id: str, **changes: str | None) -> httpx2.Response:
        return await self.browser.get(
            f"{self.url}/oauth/authorize", params=self.authorize_parameters(client_id, **changes)
        )

    async def decide(
        self, page: httpx2.Response, decision: str = "approve", **changes: str
    ) -> httpx2.Response:
        action, fields = form_in(page)
        sent = {**fields, "decision": decision, **changes}
        return await self.browser.post(action, data=sent, headers=origin_of(action))

    async def at_upstream(self, to_upstream: httpx2.Response, user: str = "learner") -> httpx2.Response:
        """Sign in at the practice GitHub; returns its redirect back to the callback."""
        page = await self.browser.get(to_upstream.headers["location"])
        if page.is_redirect:
            return page
        action, fields = form_in(page)
        return await self.browser.post(action, data={**fields, "user": user}, headers=origin_of(action))

    async def code(self, client_id: str, user: str = "learner", **changes: str | None) -> dict[str, str]:
        """The parameters the client's redirect URI receives."""
        to_upstream = await self.decide(await self.authorize(client_id, **changes))
        back = await self.at_upstream(to_upstream, user)
        arrived = await self.browser.get(back.headers["location"])
        assert arrived.status_code == 303, arrived.text
        return query_of(arrived)

    async def redeem(self, client_id: str, code: str, **changes: str | None) -> httpx2.Response:
        fields: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "client_id": client_id,
            "code": code,
            "redirect_uri": CALLBACK,
            "code_verifier": VERIFIER,
            "resource": f"{self.url}/",
            **changes,
        }
        return await self.token(fields)

    async def token(self, fields: dict[str, str | None]) -> httpx2.Response:
        sent = {name: value for name, value in fields.items() if value is not None}
        return await self.http.post("/oauth/token", data=sent)

    async def refresh(self, client_id: str, refresh_token: str, **changes: str | None) -> httpx2.Response:
        fields: dict[str, str | None] = {
            "grant_type": "refresh_token",
            "client_id": client_id,
            "refresh_token": refresh_token,
            **changes,
        }
        return await self.token(fields)

    async def sign_in(self, user: str = "learner", **changes: str | None) -> SignedIn:
        client_id = await self.register()
        arrived = await self.code(client_id, user, **changes)
        answer = await self.redeem(client_id, arrived["code"])
        assert answer.status_code == 200, answer.text
        return SignedIn(client_id, answer.json())

    async def call(self, headers: dict[str, str] | None = None, **options: Any) -> httpx2.Response:
        """One MCP request of the modern era."""
        return await self.http.post(
            "/mcp", headers={**MCP_HEADERS, **(headers or {})}, json=DISCOVER, **options
        )


MCP_HEADERS = {
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "server/discover",
}
_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
DISCOVER = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": _META}}


def _client(app: ASGIApp, url: str, *, in_memory: bool) -> httpx2.AsyncClient:
    mounts = {url: httpx2.ASGITransport(app=app)} if in_memory else {}
    return httpx2.AsyncClient(base_url=url, mounts=mounts, trust_env=False, timeout=DEADLINE, verify=NO_TLS)


@asynccontextmanager
async def site(
    config: GatewayConfig,
    *,
    clock: Clock | None = None,
    patience: Patience = PATIENT,
    fetch: Fetch | None = None,
) -> AsyncIterator[Site]:
    """A gateway in memory, at the address it has in the workshop."""
    clock = clock or Clock()
    app = create_app(config, clock=clock, patience=patience, fetch=fetch)
    async with (
        started(app),
        _client(app, ISSUER, in_memory=True) as http,
        _client(app, ISSUER, in_memory=True) as browser,
    ):
        yield Site(app, config, clock, ISSUER, http, browser)


@asynccontextmanager
async def real_site(
    config: GatewayConfig, *, clock: Clock | None = None, patience: Patience = PATIENT
) -> AsyncIterator[Site]:
    """A gateway over real HTTP, on the port of its configuration."""
    clock = clock or Clock()
    app = create_app(config, clock=clock, patience=patience)
    url = f"http://localhost:{config.port}"
    async with (
        served(app, config.port),
        _client(app, url, in_memory=False) as http,
        _client(app, url, in_memory=False) as browser,
    ):
        yield Site(app, config, clock, url, http, browser)
