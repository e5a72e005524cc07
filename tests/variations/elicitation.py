"""The gateway with a vault, driven by hand: clients of two people, their browsers, and what GitHub saw."""

import importlib.util
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from mcp import Client, MCPError, UrlElicitationRequiredError
from mcp.client import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from mcp_types import (
    CallToolResult,
    ElicitRequestParams,
    ElicitRequestURLParams,
    ElicitResult,
    InputRequiredResult,
    TextContent,
)

from tests.servers.gateway.harness import NO_TLS, s256
from tests.servers.gateway.reading import decoded, form_in, origin_of, query_of
from workshop.course.lessons import find_variation
from workshop.course.variation_run import Running, variation_running
from workshop.servers.practice.client import RecordedRequest, read_requests

MODERN = "2026-07-28"
ERAS = ["legacy", MODERN]
PROFILE = "GitHubTarget___getUserProfile"
_VERIFIER = "a-verifier-of-the-right-length-for-pkce-s256-0123"
_BACK = "http://localhost:8765/callback"
_CLIENT = {
    "client_name": "A client of the tests",
    "redirect_uris": [_BACK],
    "token_endpoint_auth_method": "none",
    "grant_types": ["authorization_code"],
    "response_types": ["code"],
}
COMPUTED = str(31337 * 31337)
"""What a template would make of the text of `strange`."""
_URL_ELICITATION_REQUIRED = -32042


@dataclass
class Browser:
    """A browser with cookies of its own, and a person who says yes as `user`; every page is kept."""

    user: str
    http: httpx2.AsyncClient
    pages: list[httpx2.Response] = field(default_factory=list)

    async def open(self, url: str, *, until: str = "no such address") -> httpx2.Response:
        """Go through pages to the end, or to the redirect that leads to an address with `until` in it."""
        response = await self.http.get(url)
        for _ in range(20):
            self.pages.append(response)
            location = response.headers.get("location", "")
            if until in location:
                return response
            if location:
                response = await self.http.get(response.url.join(location))
            elif "<form" in response.text:
                response = await self.press(response)
            else:
                return response
        raise AssertionError("there is no end to these pages")

    async def open_to_form(self, url: str, action: str) -> httpx2.Response:
        """Go through pages to the one whose form goes to a path, and stop there."""
        response = await self.http.get(url)
        while "<form" not in response.text or urlsplit(form_in(response)[0]).path != action:
            location = response.headers.get("location")
            response = await (
                self.http.get(response.url.join(location)) if location else self.press(response)
            )
        return response

    async def press(self, page: httpx2.Response, **changes: str) -> httpx2.Response:
        """Send a page's form, approving; `changes` take the place of its fields."""
        url, fields = form_in(page)
        button = {"decision": "approve"} if 'value="approve"' in page.text else {"user": self.user}
        return await self.http.post(url, data={**fields, **button, **changes}, headers=origin_of(url))


@dataclass
class Gateway:
    """The running variation, and how people and their clients come to it."""

    running: Running
    logins: dict[str, tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.running.url.removesuffix("/mcp")

    @property
    def github(self) -> str:
        return self.running.endpoints["elicitation-github"]

    @property
    def issuer(self) -> str:
        return self.running.endpoints["elicitation-identity"]

    @asynccontextmanager
    async def browser(self, user: str = "learner") -> AsyncIterator[Browser]:
        async with httpx2.AsyncClient(verify=NO_TLS, trust_env=False, timeout=60) as http:
            yield Browser(user, http)

    async def token(self, user: str = "learner", **changes: Any) -> str:
        """A token for another client of a person's each time, signed with the provider's own key.

        The first one of each person is from a real login, for only the provider knows their subject.
        """
        if user not in self.logins:
            self.logins[user] = decoded(await self._login(user))
        header, claims = self.logins[user]
        key = ECKey.import_key(self.running.secret("signing-key"))
        fresh = {"client_id": f"client-{secrets.token_hex(4)}", "exp": int(time.time()) + 300, **changes}
        return jwt.encode(header, {**claims, **fresh}, key, algorithms=[header["alg"]])

    async def _login(self, user: str) -> str:
        challenge = s256(_VERIFIER)
        async with self.browser(user) as browser:
            client = (await browser.http.post(f"{self.issuer}/oauth/register", json=_CLIENT)).json()
            asked = {
                "response_type": "code",
                "client_id": client["client_id"],
                "redirect_uri": _BACK,
                "code_challenge": challenge,
                "code_challenge_method": "S256",
            }
            back = await browser.open(
                str(httpx2.URL(f"{self.issuer}/oauth/authorize", params=asked)), until=_BACK
            )
            fields = {
                "grant_type": "authorization_code",
                "client_id": client["client_id"],
                "redirect_uri": _BACK,
                "code": query_of(back)["code"],
                "code_verifier": _VERIFIER,
            }
            answer = await browser.http.post(f"{self.issuer}/oauth/token", data=fields)
        return str(answer.json()["access_token"])

    @asynccontextmanager
    async def client(self, token: str, mode: str = MODERN, **options: Any) -> AsyncIterator[Client]:
        """The SDK's client; without an `elicitation_callback` it declares no elicitation."""
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            httpx2.AsyncClient(verify=NO_TLS, trust_env=False, timeout=60, headers=headers) as http,
            Client(
                streamable_http_client(self.running.url, http_client=http), mode=mode, **options
            ) as client,
        ):
            yield client

    @asynccontextmanager
    async def asking(
        self, user: str = "learner", mode: str = MODERN, **claims: Any
    ) -> AsyncIterator["Asking"]:
        """A client that declares URL elicitation, and what it is asked."""
        asking = Asking()
        token = await self.token(user, **claims)
        async with self.client(
            token, mode, elicitation_callback=asking.answer, message_handler=asking.heard.append_async
        ) as client:
            asking.client, asking.token = client, token
            yield asking

    async def seen(self) -> list[RecordedRequest]:
        return list(await read_requests(self.github))

    async def switch(self, what: str, body: object = None) -> None:
        """A switch of the practice GitHub's; after a `reset` the grants in the vault are worth nothing."""
        async with self.browser() as browser:
            url, headers = f"{self.github}/practice/{what}", {"X-Practice-Control": "1"}
            assert (await browser.http.post(url, json=body, headers=headers)).is_success


class Heard(list[Any]):
    """What the server told by itself."""

    async def append_async(self, message: object) -> None:
        self.append(message)


class Asking:
    """A client's side of URL elicitation; a person says `action` after having done `then`."""

    def __init__(self) -> None:
        self.client: Client
        self.token = ""
        self.heard = Heard()
        self.asked: list[ElicitRequestURLParams] = []
        self.action: Any = "accept"
        self.then: Callable[[str], Any] | None = None

    async def answer(self, _: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        assert isinstance(params, ElicitRequestURLParams)
        self.asked.append(params)
        if self.then is not None:
            await self.then(params.url)
        return ElicitResult(action=self.action)

    async def ask(self, tool: str = PROFILE, **arguments: Any) -> tuple[str, str]:
        """Call without going anywhere: the link, and its state (2026-07-28) or its id (2025-11-25)."""
        try:
            result = await self.client.session.call_tool(tool, arguments, allow_input_required=True)
        except MCPError as error:
            if error.code != _URL_ELICITATION_REQUIRED:
                raise
            (elicitation,) = UrlElicitationRequiredError.from_error(error.error).elicitations
            return elicitation.url, elicitation.elicitation_id or ""
        assert isinstance(result, InputRequiredResult), result
        (request,) = (result.input_requests or {}).values()
        params = request.params
        assert isinstance(params, ElicitRequestURLParams)
        assert params.elicitation_id is None
        return params.url, result.request_state or ""


def load(name: str) -> Any:
    """A module of the variation that imports none beside it."""
    path = find_variation("elicitation").directory / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"elicitation_variation_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def told(result: CallToolResult) -> dict[str, Any]:
    (block,) = result.content
    assert isinstance(block, TextContent)
    value: dict[str, Any] = json.loads(block.text)
    return value


def link_id(url: str) -> str:
    (found,) = parse_qs(urlsplit(url).query)["elicitation_id"]
    return found


def strange() -> str:
    """Text that a page must not take for markup, and that no other test sent."""
    return f"\"><script>alert({secrets.randbelow(10**9)})</script>'{{{{31337*31337}}}}"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with variation_running(find_variation("elicitation"), tmp_path_factory.mktemp("variation")) as started:
        yield Gateway(started)


@pytest.fixture
async def gateway(running: Gateway, anyio_backend: str) -> Gateway:
    """The running gateway, with nobody's account connected."""
    await running.switch("reset")
    return running
