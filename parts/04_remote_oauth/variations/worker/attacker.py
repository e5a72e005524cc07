"""What somebody can do who has the address: logins by hand, in several browsers, a look at the files."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx2

from workshop.agent.http import open_client
from workshop.auth import s256
from workshop.core.browser import following, press

HERE, ELSEWHERE = "http://localhost:8765/callback", "https://evil.example/callback"
LIST_TOOLS = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
_PAGES = 8
_APPROVING = (("decision", "approve"), ("user", "learner"))
_OK, _CREATED, _TOO_MANY, _FAILED = 200, 201, 429, 500


class BrokenError(Exception):
    """The worker failed; the text is its explanation."""


@dataclass(frozen=True)
class Login:
    """A code at the end of a login, and what belongs to it."""

    client_id: str
    redirect_uri: str
    verifier: str
    code: str


class Attacker:
    """Speaks HTTP to one worker; `directory` is where it keeps its store and its log."""

    def __init__(self, http: httpx2.AsyncClient, mcp: str, directory: Path) -> None:
        self.http = http
        self.mcp = mcp
        self.url = mcp.removesuffix("/mcp")
        self.directory = directory

    async def ask(
        self,
        method: str,
        path: str,
        browser: httpx2.AsyncClient | None = None,
        **content: Any,  # noqa: ANN401 - as httpx2
    ) -> httpx2.Response:
        """One answer, redirects as they are; raises BrokenError where the worker failed."""
        return _unbroken(await (browser or self.http).request(method, urljoin(self.url, path), **content))

    async def register(self, *redirect_uris: str) -> dict[str, Any]:
        """A new client; empty when it was refused."""
        document = {"redirect_uris": redirect_uris, "token_endpoint_auth_method": "none"}
        answer = await self.ask("POST", "/register", json=document)
        client: dict[str, Any] = answer.json() if answer.status_code == _CREATED else {}
        return client

    def request(self, verifier: str = "v" * 43, **changed: str | None) -> str:
        """The address that begins a login; a parameter that is None is left out."""
        asked = {
            "response_type": "code",
            "redirect_uri": HERE,
            "state": secrets.token_urlsafe(),
            "code_challenge": s256(verifier),
            "code_challenge_method": "S256",
            "resource": self.mcp,
            **changed,
        }
        return f"{self.url}/auth?{urlencode({name: value for name, value in asked.items() if value})}"

    async def travel(self, browser: httpx2.AsyncClient, url: str, *stops: str) -> str:
        """Where a person gets who approves all they are shown: to one of these places, or to the end."""
        request = browser.build_request("GET", url)
        for _ in range(_PAGES):
            if any(stop in str(request.url).partition("?")[0] for stop in (HERE, ELSEWHERE, *stops)):
                break
            answer = _unbroken(await browser.send(request))
            onward = following(answer) or press(browser, answer, *_APPROVING)
            if onward is None:
                break
            request = onward
        return str(request.url)

    async def login(self, **changed: str | None) -> Login | None:
        """A whole login up to the code; None where it did not come to one."""
        client_id = str((await self.register(HERE)).get("client_id", ""))
        verifier = secrets.token_urlsafe(48)
        async with a_browser() as browser:
            end = await self.travel(browser, self.request(verifier, client_id=client_id, **changed))
        code = parse_qs(urlsplit(end).query).get("code", [""])[0]
        return Login(client_id, HERE, verifier, code) if end.startswith(HERE) and code else None

    async def redeem(self, login: Login, **changed: str) -> httpx2.Response:
        """The answer of the token endpoint."""
        form = {
            "grant_type": "authorization_code",
            "client_id": login.client_id,
            "redirect_uri": login.redirect_uri,
            "code": login.code,
            "code_verifier": login.verifier,
            **changed,
        }
        return await self.ask("POST", "/token", data=form)

    async def token(self, **changed: str | None) -> str:
        """An access token got by the rules; empty where there was none."""
        login = await self.login(**changed)
        answer = await self.redeem(login) if login else None
        return str(answer.json().get("access_token", "")) if answer is not None else ""

    async def works(self, token: str, path: str = "/mcp", *, header: bool = True) -> bool:
        """Whether the MCP server answers to a token."""
        headers = {"accept": "application/json, text/event-stream"}
        headers |= {"authorization": f"Bearer {token}"} if header else {}
        answer = await self.ask("POST", path, json=LIST_TOOLS, headers=headers)
        return answer.status_code == _OK

    def written(self, name: str) -> str:
        """What a file of the worker holds, of whatever kind."""
        files = sorted(self.directory.glob(f"{name}*"))
        return "\n".join(file.read_bytes().decode("latin-1") for file in files)


@asynccontextmanager
async def attacking(mcp: str, directory: Path) -> AsyncIterator[Attacker]:
    """An attacker of the worker at `mcp`."""
    async with a_browser() as http:
        yield Attacker(http, mcp, directory)


def a_browser() -> httpx2.AsyncClient:
    """A browser nobody has used yet."""
    return open_client(10, sender=None)


def _unbroken(answer: httpx2.Response) -> httpx2.Response:
    if answer.status_code == _TOO_MANY:
        raise BrokenError("It does not take so many requests at once")
    if answer.status_code == _FAILED and "json" in answer.headers.get("content-type", ""):
        raise BrokenError(str(answer.json().get("error_description", "")))
    return answer
