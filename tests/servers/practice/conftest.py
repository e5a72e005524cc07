"""A practice GitHub in memory, and ways to be one of its users."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent
from starlette.applications import Starlette

from tests.servers.practice.process import Process
from workshop.core.ports import free_port
from workshop.servers.practice.app import create_app
from workshop.servers.practice.config import PracticeConfig
from workshop.servers.practice.state import PracticeState
from workshop.servers.practice.tokens import Tokens

URL = "http://localhost:8090"
CALLBACK = "http://localhost:8080/oauth/callback"
SECRET = "a practice secret of the tests"
CONTROL = {"X-Practice-Control": "1"}


@dataclass
class Clock:
    """Seconds that pass only when a test says so."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class _FormReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.buttons: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        pair = (named.get("name") or "", named.get("value") or "")
        if tag == "input":
            self.fields.update([pair])
        if tag == "button":
            self.buttons.append(pair)


@dataclass
class Practice:
    """One running practice GitHub and a browser that looks at it."""

    app: Starlette
    config: PracticeConfig
    clock: Clock
    browser: httpx2.AsyncClient
    tokens: Tokens = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = Tokens(self.config.client_secret)

    @property
    def state(self) -> PracticeState:
        state: PracticeState = self.app.state.practice
        return state

    def another_browser(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=self.app), base_url=URL)

    def token(self, login: str = "learner", scopes: str = "repo read:user") -> str:
        return self.tokens.issue(login, tuple(scopes.split()))

    def as_user(self, login: str = "learner", scopes: str = "repo read:user") -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(login, scopes)}"}

    def page_url(self, **changes: str | None) -> str:
        """The address of the authorize page, with parameters changed, added or (None) left out."""
        parameters: dict[str, str | None] = {
            "client_id": self.config.client_id,
            "redirect_uri": CALLBACK,
            "scope": "repo read:user",
            "state": "state-1",
        }
        wanted = {name: value for name, value in (parameters | changes).items() if value is not None}
        return str(httpx2.URL("/login/oauth/authorize", params=wanted))

    async def form(self, **changes: str | None) -> dict[str, str]:
        """The fields of the form a person sees."""
        page = await self.browser.get(self.page_url(**changes))
        assert page.status_code == 200
        return read_form(page.text).fields

    async def decide(self, user: str, **changes: str | None) -> dict[str, str]:
        """Press one button; returns the parameters of the address the browser is sent to."""
        form = await self.form(**changes)
        answer = await self.browser.post("/login/oauth/authorize", data={**form, "user": user})
        return redirected(answer)

    async def exchange(self, code: str, **changes: str) -> dict[str, Any]:
        """The JSON answer of the token endpoint."""
        fields = {
            "client_id": self.config.client_id,
            "client_secret": self.config.client_secret,
            "code": code,
            "redirect_uri": CALLBACK,
        }
        headers = {"Accept": "application/json"}
        answer = await self.browser.post("/login/oauth/access_token", data=fields | changes, headers=headers)
        assert answer.status_code == 200
        body: dict[str, Any] = answer.json()
        return body

    async def control(self, path: str, body: object) -> httpx2.Response:
        return await self.browser.post(f"/practice/{path}", json=body, headers=CONTROL)

    async def recorded(self) -> list[dict[str, Any]]:
        requests: list[dict[str, Any]] = (await self.browser.get("/practice/requests")).json()["requests"]
        return requests

    def mcp(self, token: str, mode: str = "auto", path: str = "/mcp/", **headers: str) -> Client:
        """The SDK's client as the token's user; `mode` is `legacy` or a protocol version."""
        http = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=self.app),
            headers={"Authorization": f"Bearer {token}", **headers},
        )
        return Client(streamable_http_client(URL + path, http_client=http), mode=mode)


def read_form(html: str) -> _FormReader:
    reader = _FormReader()
    reader.feed(html)
    return reader


def text_of(result: CallToolResult) -> str:
    """The first text of a tool's answer."""
    first = result.content[0]
    assert isinstance(first, TextContent)
    return first.text


def redirected(answer: httpx2.Response) -> dict[str, str]:
    """The query of a redirect, and its target under `to`."""
    assert answer.status_code == 302
    target = urlsplit(answer.headers["location"])
    return dict(parse_qsl(target.query)) | {"to": target._replace(query="").geturl()}


@pytest.fixture
def config() -> PracticeConfig:
    return PracticeConfig(
        port=8090,
        client_id="practice-workshop-app",
        client_secret=SECRET,
        callback_url=CALLBACK,
        app_name="MCP <workshop>",
        hop=6,
    )


@pytest.fixture
async def practice(config: PracticeConfig, anyio_backend: str) -> AsyncIterator[Practice]:
    clock = Clock()
    app = create_app(config, clock)
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url=URL) as browser,
    ):
        yield Practice(app, config, clock, browser)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def config_file(tmp_path: Path, port: int) -> Path:
    return write_config(tmp_path, port)


def write_config(folder: Path, port: int) -> Path:
    """Write the configuration of a process, and the secret beside it."""
    (folder / "secret").write_text(SECRET)
    raw = {
        "port": port,
        "client_id": "practice-workshop-app",
        "client_secret_file": "secret",
        "callback_url": "http://localhost:8080/oauth/callback",
        "app_name": "MCP workshop",
    }
    path = folder / "practice.json"
    path.write_text(json.dumps(raw))
    return path


@pytest.fixture
def start(config_file: Path, port: int) -> Iterator[Callable[[], Process]]:
    started: list[Process] = []

    def _start() -> Process:
        started.append(Process(config_file))
        started[-1].wait_until_it_serves(port)
        return started[-1]

    yield _start
    for process in started:
        if process.runs:
            process.kill()
