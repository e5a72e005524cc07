"""The gateway with prefixes as a process, between clients and upstream servers that keep what they get."""

import contextlib
import io
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.inbound import encode_header_value
from mcp_types import CallToolResult, TextContent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.servers.gateway.harness import NO_TLS, Clock, in_thread
from tests.servers.gateway.outside import ISSUER, Issuer
from workshop.core.console import Console
from workshop.core.paths import parts_dir
from workshop.core.ports import free_port
from workshop.course.variation_run import Edition, VariationPrograms
from workshop.lab.base import Program

FOLDER = parts_dir() / "04_remote_oauth" / "variations" / "prefix-gateway"
MODERN = "2026-07-28"
ERAS = ["legacy", MODERN]
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}


@dataclass(frozen=True)
class Seen:
    """One request as an upstream got it."""

    method: str
    tool: str
    headers: dict[str, str]

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass
class Upstream:
    """An MCP server that answers with the token it was sent, and keeps every request."""

    tools: tuple[str, ...]
    legacy: bool = False
    refused: str = ""
    seen: list[Seen] = field(default_factory=list)

    def app(self) -> ASGIApp:
        server = MCPServer("upstream", log_level="ERROR")
        for name in self.tools:
            server.add_tool(who, name=name)
        app = server.streamable_http_app(stateless_http=not self.legacy)

        async def recorded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and (early := await self._look(scope, receive)) is not None:
                answer, receive = early
                if answer is not None:
                    await answer(scope, receive, send)
                    return
            await app(scope, receive, send)

        return recorded

    async def _look(self, scope: Scope, receive: Receive) -> tuple[Response | None, Receive]:
        messages: list[Message] = [await receive()]
        while messages[-1].get("more_body"):
            messages.append(await receive())
        body = b"".join(message.get("body", b"") for message in messages)
        asked = json.loads(body) if body else {}
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        name = (asked.get("params") or {}).get("name", "")
        self.seen.append(Seen(str(asked.get("method", scope["method"])), name, headers))

        async def again() -> Message:
            return messages.pop(0) if messages else await receive()

        if self.refused and self.seen[-1].token == self.refused:
            return PlainTextResponse("bad credentials", 401), again
        modern = self.legacy and headers.get("mcp-protocol-version") == MODERN
        return (PlainTextResponse("no such version", 400) if modern else None), again

    def called(self) -> list[Seen]:
        return [seen for seen in self.seen if seen.method == "tools/call"]

    def tokens(self, method: str) -> set[str]:
        return {seen.token for seen in self.seen if seen.method == method}


def who(context: Context) -> str:
    """The token of this very request."""
    request: Request | None = context.request_context.request
    assert request is not None
    return request.headers["authorization"].removeprefix("Bearer ")


@dataclass
class Site:
    """A gateway with five registrations: two with a header of the caller's, one without, two out of order."""

    url: str
    issuer: Issuer
    programs: VariationPrograms
    github: Upstream
    other: Upstream
    notes: Upstream
    notes_url: str

    @property
    def origin(self) -> str:
        return self.url.removesuffix("/mcp")

    def token(self, user: str = "learner", **changes: Any) -> str:
        claims = {"sub": f"id-of-{user}", "preferred_username": user, "aud": [self.url], **changes}
        return self.issuer.token(**claims)

    def discovery(self, name: str) -> str:
        return self.programs.secret(f"discovery-{name}").read_text()

    @asynccontextmanager
    async def client(
        self, user: str = "learner", mode: str = "auto", **headers: str
    ) -> AsyncIterator[Client]:
        """The SDK's client, with this user's token; `x_github_pat=` becomes the header."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent["Authorization"] = f"Bearer {self.token(user)}"
        async with (
            httpx2.AsyncClient(headers=sent, verify=NO_TLS, trust_env=False) as http,
            Client(streamable_http_client(self.url, http_client=http), mode=mode) as client,
        ):
            yield client

    async def ask(
        self, method: str, name: str = "", *, era: str = MODERN, **headers: str | bytes | None
    ) -> httpx2.Response:
        """One request by hand; a header that is None is left out."""
        params: dict[str, Any] = {"name": name, "arguments": {}} if name else {}
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        sent: dict[str, str | bytes | None] = {"authorization": f"Bearer {self.token()}"}
        if era == MODERN:
            params["_meta"] = META
            named = encode_header_value(name) if name else None
            sent |= {"mcp-protocol-version": MODERN, "mcp-method": method, "mcp-name": named}
        sent |= {key.replace("_", "-"): value for key, value in headers.items()}
        return await self.send(json.dumps(body).encode(), sent)

    async def send(self, body: bytes, headers: dict[str, str | bytes | None]) -> httpx2.Response:
        raw = [(b"content-type", b"application/json"), (b"accept", b"application/json, text/event-stream")]
        raw += [(key.encode(), _bytes(value)) for key, value in headers.items() if value is not None]
        async with httpx2.AsyncClient(verify=NO_TLS, trust_env=False) as http:
            return await http.post(self.url, content=body, headers=raw)

    def forget(self) -> None:
        for upstream in (self.github, self.other, self.notes):
            upstream.seen.clear()

    def touched(self) -> list[Seen]:
        """What any upstream got since."""
        return [*self.github.seen, *self.other.seen, *self.notes.seen]


def text_of(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


@contextmanager
def gateway(directory: Path) -> Iterator[Site]:
    """All of it, on free ports; the gateway is a process, the upstream servers are threads."""
    issuer = Issuer(Clock(time.time()))
    github = Upstream(("get_me", "search", "issue_write", "delete_repository"), refused="revoked")
    other, notes = Upstream(("get_me", "echo"), legacy=True), Upstream(("list_notes",))
    programs = VariationPrograms(directory)
    with contextlib.ExitStack() as stack:

        def serve(app: ASGIApp) -> str:
            return stack.enter_context(in_thread(app, free_port()))

        keys = serve(Starlette(routes=[Route("/jwks", _answering(issuer.jwks), methods=["GET", "POST"])]))
        urls = [f"{serve(upstream.app())}/mcp" for upstream in (github, other, notes)]
        config = configuration(f"{keys}/jwks", *urls)
        program = Program("prefix-gateway", ("python", "server.py"), 0, "/mcp", FOLDER, config)
        progress = stack.enter_context(Console(io.StringIO(), io.StringIO()).progress())
        stack.callback(programs.stop, progress)
        applied = programs.start([program], Edition(), 30, progress)
        yield Site(applied.endpoints["prefix-gateway"], issuer, programs, github, other, notes, urls[2])


def configuration(jwks: str, github: str, other: str, notes: str) -> dict[str, Any]:
    return {
        "url": "{url:prefix-gateway}",
        "issuer": ISSUER,
        "jwks_uri": jwks,
        "signing_key_file": "{secret:signing-key}",
        "registrations": [
            {
                "prefix": "github_",
                "url": github,
                "credential_file": "{secret:discovery-github}",
                "user_header": "X-GitHub-PAT",
                "filter": ["get_me", "search", "issue_write"],
                "only": {"issue_write": ["mentor"]},
            },
            {
                "prefix": "other_",
                "url": other,
                "credential_file": "{secret:discovery-other}",
                "user_header": "x-other-key",
            },
            {"prefix": "notes_", "url": notes},
            {"prefix": "gone_", "url": f"http://localhost:{free_port()}/mcp"},
            {"prefix": "broken_", "url": jwks},  # this server speaks, but no MCP
        ],
    }


def _answering(value: Callable[[], Any]) -> Callable[[Request], Response]:
    return lambda _request: JSONResponse(value())


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
