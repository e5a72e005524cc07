"""Servers for checks: a part's manifests run as processes, and calls of a protected MCP server."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2
from mcp import Client

from workshop.agent.approval import NobodyApproves
from workshop.agent.connect import connect
from workshop.agent.events import Observer, ignore
from workshop.agent.http import open_client
from workshop.agent.listener import LoopbackListener
from workshop.agent.oauth import OAuthClient
from workshop.agent.token_store import Login, TokenStore
from workshop.core.encoding import jwt_claims, unsigned_jwt
from workshop.core.ports import free_port
from workshop.course.check_outcome import NotPassedError, expect
from workshop.course.lessons import Lesson
from workshop.lab.base import Choices, Deployment, quiet_progress
from workshop.lab.embedded import EmbeddedBackend
from workshop.toolhive import lint
from workshop.toolhive.manifests import Resource, Resources

_PART_OF_CHECK = 0
_PROXIES = ("MCPServer", "MCPRemoteProxy")


@dataclass(frozen=True)
class Embedded:
    """What runs for a check: the URL of each proxy and of each server behind one, by name."""

    proxies: dict[str, str]
    servers: dict[str, str]


@contextlib.asynccontextmanager
async def embedded(directory: Path, scratch: Path, changed: Sequence[Resource]) -> AsyncIterator[Embedded]:
    """Run a part's manifests with `changed` in them; raises UsageError when they violate a rule."""
    deployment = _with(Lesson(_PART_OF_CHECK, directory).deployment(), changed)
    lint.check(deployment.resources)
    backend = EmbeddedBackend(scratch / "instance")
    ports: dict[str, int] = {}
    for kind in _PROXIES:
        for resource in deployment.resources.of(kind):
            # Not the usual ports: the learner's own environment runs beside a check.
            ports[resource.name] = free_port(besides=ports.values())
    with quiet_progress() as quiet:
        try:
            # In a thread: it waits for processes, and the time limit of the check must still count.
            await asyncio.to_thread(backend.apply, [deployment], Choices("practice", ports=ports), quiet)
            running = {status.name: status.url for status in backend.status()}
            yield Embedded(
                {name: url for name, url in running.items() if name in ports},
                {name.removesuffix("-0"): url for name, url in running.items() if name not in ports},
            )
        finally:
            await asyncio.to_thread(backend.teardown, quiet)


def _with(deployment: Deployment | None, changed: Sequence[Resource]) -> Deployment:
    if deployment is None:
        raise TypeError("this part deploys nothing")
    titles = {resource.title for resource in changed}
    unchanged = [found for found in deployment.resources.all if found.title not in titles]
    return replace(deployment, resources=Resources((*unchanged, *changed)))


RESOURCE_METADATA = "/.well-known/oauth-protected-resource"
UNAUTHORIZED = 401
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_SECONDS, _CALL_SECONDS = 5, 15


@dataclass(frozen=True)
class ProtectedServer:
    """The server at `url`, and the agent's logins."""

    url: str
    tokens: TokenStore

    @property
    def origin(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    async def ask(
        self, token: str = "", method: str = "tools/list", params: Mapping[str, Any] | None = None
    ) -> httpx2.Response:
        """Its response to one MCP request, with this token or without one."""
        headers = {"Accept": "application/json, text/event-stream"}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        body = {"jsonrpc": "2.0", "id": 1, "method": method, **({"params": params} if params else {})}
        async with open_client(_SECONDS) as http:
            return await http.post(self.url, json=body, headers=headers)

    async def refusal(self, token: str = "") -> dict[str, str]:
        """The parameters of its challenge; not passed unless it answers 401 (RFC 6750 section 3)."""
        answer = await self.ask(token)
        expect(answer.status_code == UNAUTHORIZED, f"It answered {answer.status_code}, not 401")
        return self.challenge(answer)

    @property
    def login(self) -> Login:
        """The stored login; not passed without one."""
        login = self.tokens.find(self.url)
        if login is None or login.tokens is None:
            raise NotPassedError("No login is stored for this server")
        return login

    @property
    def token(self) -> str:
        """The stored access token; not passed without one."""
        tokens = self.login.tokens
        return tokens.access_token if tokens else ""

    @property
    def claims(self) -> dict[str, Any]:
        """The claims of the stored token; `aud` is always a list (RFC 7519 section 4.1.3 allows one name)."""
        claims = jwt_claims(self.token)
        if claims is None:
            raise NotPassedError("The stored token is not a JWT")
        audience = claims.get("aud")
        return {**claims, "aud": audience if isinstance(audience, list) else [audience]}

    @asynccontextmanager
    async def client(
        self, headers: Mapping[str, str] | None = None, observe: Observer = ignore
    ) -> AsyncIterator[Client]:
        """An MCP client with the stored login; a check never opens a browser for a new one."""
        gone = NotPassedError("The stored login is no longer accepted; a new one needs your approval")
        async with LoopbackListener() as listener:
            login = OAuthClient(
                self.url,
                listener=listener,
                approval=NobodyApproves(gone),
                tokens=self.tokens,
                observe=observe,
            )
            async with connect(self.url, auth=login, headers=headers, seconds=_CALL_SECONDS) as client:
                yield client

    @staticmethod
    def challenge(answer: httpx2.Response) -> dict[str, str]:
        """The parameters of `WWW-Authenticate`."""
        return dict(_PARAMETER.findall(answer.headers.get("WWW-Authenticate", "")))

    async def document(self, url: str) -> dict[str, Any]:
        """A JSON document, at a path of this server or elsewhere; empty when it is not an object."""
        address = urljoin(self.url, url)
        async with open_client(_SECONDS) as http:
            response = await http.get(address)
        expect(response.is_success, f"{address} answered {response.status_code}")
        document = response.json()
        return document if isinstance(document, dict) else {}

    async def expect_metadata(
        self, *, issuer: str, resource: str = "", url: str = f"{RESOURCE_METADATA}/mcp"
    ) -> None:
        """Not passed unless the metadata (RFC 9728) names issuer and resource, character for character."""
        document, wanted = await self.document(url), resource or self.url
        named, issuers = document.get("resource"), document.get("authorization_servers")
        expect(named == wanted, f"`resource` is {named!r}, not {wanted!r}")
        expect(issuers == [issuer], f"`authorization_servers` is {issuers}, not [{issuer}]")

    @staticmethod
    def forged(claims: Mapping[str, Any], algorithm: str = "none", signature: str = "") -> str:
        """A JWT without a valid signature."""
        return unsigned_jwt(claims, algorithm, signature)
