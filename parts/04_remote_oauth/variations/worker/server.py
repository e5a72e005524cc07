"""An OAuth authorization server and an MCP server in one app, as on an edge worker, with GitHub upstream.

What can be done wrong is not here: those functions are the exercises, in six groups.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send
from worker import SCOPES, WEAK, Worker, WorkerConfig, make_worker
from worker_tools import SESSION, mcp_server

from workshop.auth import Cors, Endpoint, private_json, with_headers
from workshop.servers.variation.editions import ReportedMistakes
from workshop.servers.variation.sdk import sdk_user
from workshop.servers.variation.service import main

_LOG = logging.getLogger("worker")
_PRM = "/.well-known/oauth-protected-resource"
_ADMISSION_CHECKS_HOSTS = TransportSecuritySettings(enable_dns_rebinding_protection=False)


def create_app(config: WorkerConfig, _: Path) -> ASGIApp:
    """The worker; raises UsageError for a configuration it must not start with."""
    worker = make_worker(config)
    if worker.groups.weak:
        _LOG.warning(WEAK)  # the log's first line
    server = mcp_server(worker)
    server.streamable_http_app(stateless_http=True, transport_security=_ADMISSION_CHECKS_HOSTS)
    sse = Guarded(server.sse_app(transport_security=_ADMISSION_CHECKS_HOSTS), worker)

    @asynccontextmanager
    async def running(_: object) -> AsyncIterator[None]:
        async with worker.outbound, server.session_manager.run():
            yield

    routes = [
        Route("/mcp", Guarded(server.session_manager.asgi_app, worker)),
        Route("/sse", sse),
        Route("/messages/{rest:path}", sse),
        *_routes(worker),
    ]
    app = Admission(Router(routes, redirect_slashes=False, lifespan=running), worker)
    return Cors(ReportedMistakes(app, worker.groups), ("/mcp", "/register", "/token"))


def _routes(worker: Worker) -> list[Route]:
    def route(path: str, group: str, function: str, method: str) -> Route:
        async def handle(request: Request) -> Response:
            response: Response = await getattr(worker.groups(group), function)(worker, request)
            return response

        return Route(path, Endpoint(handle, (method,)))

    async def health(_: Request) -> Response:
        return private_json({"status": "ok", "edition": WEAK if worker.groups.weak else "mended"})

    async def authorize(request: Request) -> Response:
        asked = worker.groups("authorization").asked(worker, request)
        response: Response = asked
        if not isinstance(asked, Response):
            response = worker.groups("consent").ask(worker, request, asked)
        return response

    async def metadata(_: Request) -> Response:
        return JSONResponse(_metadata(worker))

    return [
        Route("/health", Endpoint(health, ("GET", "HEAD"))),
        Route("/.well-known/oauth-authorization-server", Endpoint(metadata, ("GET",))),
        route(f"{_PRM}{{suffix:path}}", "resource", "metadata", "GET"),
        route("/register", "registration", "register", "POST"),
        *(Route(path, Endpoint(authorize, ("GET",))) for path in ("/", "/auth")),
        route("/oauth/consent", "consent", "decide", "POST"),
        route("/callback", "consent", "callback", "GET"),
        route("/token", "tokens", "token", "POST"),
        route("/revoke", "tokens", "revoke", "POST"),
    ]


def _metadata(worker: Worker) -> dict[str, object]:
    """What every edition announces (RFC 8414), and what its groups add."""
    return {
        "issuer": worker.url,
        "authorization_endpoint": f"{worker.url}/auth",
        "registration_endpoint": f"{worker.url}/register",
        "scopes_supported": SCOPES,
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        **worker.groups("consent").metadata(worker.url),
        **worker.groups("tokens").metadata(worker.url),
    }


class Guarded:
    """Passes a request on with its session, or answers a request that has none."""

    def __init__(self, app: ASGIApp, worker: Worker) -> None:
        self._app, self._worker = app, worker

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._worker.groups("resource").session(self._worker, Request(scope))
        if isinstance(found, Response):
            await found(scope, receive, send)
            return
        # The SDK ties a stream of `/sse` to this user: nobody else may post to it.
        await self._app({**scope, SESSION: found, "user": sdk_user(found["login"])}, receive, send)


class Admission:
    """Admits a request as group `resource` decides, and adds its headers to the answer; `/health` is free."""

    def __init__(self, app: ASGIApp, worker: Worker) -> None:
        self._app, self._worker = app, worker

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/health":
            await self._app(scope, receive, send)
            return
        resource = self._worker.groups("resource")
        admitted = resource.admit(self._worker, Request(scope)) or self._app
        await admitted(scope, receive, with_headers(send, resource.headers(self._worker)))


if __name__ == "__main__":
    main(WorkerConfig, create_app)
