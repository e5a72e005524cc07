"""A practice identity provider in memory, a client of it, and the browser of the person at the keyboard."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from starlette.types import ASGIApp

from tests.servers.gateway.harness import CALLBACK, NO_TLS, VERIFIER, Clock, ec_pem, s256, started
from tests.servers.gateway.reading import form_in, origin_of, query_of
from workshop.auth.client_documents import Fetch
from workshop.servers.identity.app import create_app

ISSUER = "http://localhost:8122"
RESOURCE = "http://localhost:8121/mcp"


def settings(folder: Path, **changes: Any) -> dict[str, Any]:
    """A complete configuration, its secrets written below `folder`."""
    for name, data in {"key.pem": ec_pem(), "hmac": b"h" * 48}.items():
        if not (folder / name).exists():
            (folder / name).write_bytes(data)
    return {
        "port": 8122,
        "resource": RESOURCE,
        "store": str(folder / "store.sqlite"),
        "signing_key_file": str(folder / "key.pem"),
        "hmac_file": str(folder / "hmac"),
        **changes,
    }


@dataclass
class Provider:
    """What a client and a person can do."""

    app: ASGIApp
    clock: Clock
    http: httpx2.AsyncClient
    browser: httpx2.AsyncClient

    async def register(self) -> str:
        self.clock.now += 1  # the rate limit is one a second
        document = {"client_name": "A test client", "redirect_uris": [CALLBACK]}
        answer = await self.http.post("/oauth/register", json=document)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["client_id"])

    async def authorize(self, client_id: str, **changes: str | None) -> httpx2.Response:
        parameters: dict[str, str | None] = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": CALLBACK,
            "code_challenge": s256(VERIFIER),
            "code_challenge_method": "S256",
            "state": "the-client-state",
            "resource": RESOURCE,
            **changes,
        }
        sent = {name: value for name, value in parameters.items() if value is not None}
        return await self.browser.get("/oauth/authorize", params=sent)

    async def to_login(self, client_id: str, **changes: str | None) -> httpx2.Response:
        """Approve; returns the redirect to the sign-in page."""
        action, fields = form_in(await self.authorize(client_id, **changes))
        return await self.browser.post(
            action, data={**fields, "decision": "approve"}, headers=origin_of(action)
        )

    async def login_page(self, client_id: str, **changes: str | None) -> httpx2.Response:
        to_login = await self.to_login(client_id, **changes)
        return await self.browser.get(to_login.headers["location"])

    async def choose(self, page: httpx2.Response, **fields: str) -> httpx2.Response:
        action, hidden = form_in(page)
        return await self.browser.post(action, data={**hidden, **fields}, headers=origin_of(action))

    async def code(self, client_id: str, user: str = "learner", **changes: str | None) -> dict[str, str]:
        """The parameters the client's redirect URI receives."""
        back = await self.choose(await self.login_page(client_id, **changes), user=user)
        arrived = await self.browser.get(back.headers["location"])
        assert arrived.status_code == 303, arrived.text
        return query_of(arrived)

    async def token(self, client_id: str, **fields: str) -> httpx2.Response:
        return await self.http.post("/oauth/token", data={"client_id": client_id, **fields})

    async def redeem(self, client_id: str, code: str, **changes: str) -> httpx2.Response:
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
            "code_verifier": VERIFIER,
        }
        return await self.token(client_id, **{**fields, **changes})

    async def sign_in(self, user: str = "learner", **changes: str | None) -> dict[str, Any]:
        client_id = await self.register()
        answer = await self.redeem(client_id, (await self.code(client_id, user, **changes))["code"])
        assert answer.status_code == 200, answer.text
        return {**answer.json(), "client_id": client_id}


@asynccontextmanager
async def provider(values: dict[str, Any], *, fetch: Fetch | None = None) -> AsyncIterator[Provider]:
    clock = Clock()
    app = create_app(values, clock=clock, fetch=fetch)
    async with started(app), browser(app) as http, browser(app) as person:
        yield Provider(app, clock, http, person)


def browser(app: ASGIApp) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=app)
    return httpx2.AsyncClient(transport=transport, base_url=ISSUER, verify=NO_TLS)
