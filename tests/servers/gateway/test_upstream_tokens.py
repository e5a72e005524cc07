"""Upstream tokens that expire are refreshed, once, before anyone notices."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from aiohttp import web

from tests.servers.gateway.harness import ISSUER, SignedIn, Site, configured, settings, site, upstream_of
from tests.servers.gateway.reading import challenge_of, query_of

CALL = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


@dataclass
class GitHubApp:
    """An upstream whose tokens last an hour, like those of a GitHub App; each refresh token works once."""

    broken: int = 0
    error: bool = False
    renewable: bool = True
    requests: Counter[str] = field(default_factory=Counter)
    seen: list[str] = field(default_factory=list)
    number: int = 0

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/login/oauth/access_token", self.token), web.post("/mcp/", self.mcp)]

    async def token(self, request: web.Request) -> web.Response:
        sent = dict(parse_qsl(await request.text()))
        self.requests[sent["grant_type"]] += 1
        if sent["grant_type"] == "refresh_token":
            if self.broken:
                return web.Response(status=self.broken)
            if self.error or sent["refresh_token"] != f"practice_refresh_{self.number}":
                return web.json_response({"error": "bad_refresh_token"})
        self.number += 1
        tokens = {
            "access_token": f"practice_access_{self.number}",
            "expires_in": 3600,
            "token_type": "bearer",
            "scope": "repo,read:user",
        }
        renewed = {"refresh_token": f"practice_refresh_{self.number}"} if self.renewable else {}
        return web.json_response({**tokens, **renewed})

    async def mcp(self, request: web.Request) -> web.Response:
        self.seen.append(request.headers["Authorization"])
        return web.json_response({"jsonrpc": "2.0", "id": 1, "result": {}})


@asynccontextmanager
async def before(app: GitHubApp, folder: Path) -> AsyncIterator[Site]:
    async with upstream_of(*app.routes()) as upstream:
        values = settings(folder, upstream=upstream)
        values["auth"]["upstream"]["userinfo"] = None
        async with site(configured(folder, values)) as gateway:
            yield gateway


async def signed_in(gateway: Site) -> SignedIn:
    client_id = await gateway.register()
    to_upstream = await gateway.decide(await gateway.authorize(client_id))
    sent = {"state": query_of(to_upstream)["state"], "code": "upstream-code"}
    arrived = await gateway.browser.get(f"{ISSUER}/oauth/callback", params=sent)
    answer = await gateway.redeem(client_id, query_of(arrived)["code"])
    return SignedIn(client_id, answer.json())


async def test_a_token_about_to_expire_is_refreshed_once_for_ten_calls_at_once(tmp_path: Path) -> None:
    app = GitHubApp()
    async with before(app, tmp_path) as gateway:
        person = await signed_in(gateway)
        assert (await gateway.http.post("/mcp", headers=person.bearer, json=CALL)).status_code == 200
        gateway.clock.now += 3550
        calls = (gateway.http.post("/mcp", headers=person.bearer, json=CALL) for _ in range(10))
        assert {answer.status_code for answer in await asyncio.gather(*calls)} == {200}
    assert app.requests == {"authorization_code": 1, "refresh_token": 1}
    assert app.seen == ["Bearer practice_access_1"] + ["Bearer practice_access_2"] * 10


async def test_the_refreshed_token_survives_a_restart(tmp_path: Path) -> None:
    app = GitHubApp()
    async with upstream_of(*app.routes()) as upstream:
        values = settings(tmp_path, upstream=upstream)
        values["auth"]["upstream"]["userinfo"] = None
        async with site(configured(tmp_path, values)) as gateway:
            person = await signed_in(gateway)
            clock = gateway.clock
            clock.now += 3550
            await gateway.http.post("/mcp", headers=person.bearer, json=CALL)
        async with site(configured(tmp_path, values), clock=clock) as gateway:
            await gateway.http.post("/mcp", headers=person.bearer, json=CALL)
    assert app.seen == ["Bearer practice_access_2"] * 2


async def refreshed_bearer(gateway: Site, person: SignedIn) -> dict[str, str]:
    answer = await gateway.refresh(person.client_id, person.refresh_token)
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


@pytest.mark.parametrize("refusal", ["refused", "nothing to refresh with"])
async def test_a_login_whose_upstream_token_is_dead_is_not_refreshed(tmp_path: Path, refusal: str) -> None:
    """As ToolHive since 0.59: a new token of ours is of no use with a dead one behind it."""
    app = GitHubApp(error=True, renewable=refusal == "refused")
    async with before(app, tmp_path) as gateway:
        person = await signed_in(gateway)
        gateway.clock.now += 3650
        answer = await gateway.refresh(person.client_id, person.refresh_token)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        assert app.requests["refresh_token"] == (refusal == "refused")
        again = await gateway.refresh(person.client_id, person.refresh_token)
        assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")


async def test_a_refused_refresh_means_signing_in_again(tmp_path: Path) -> None:
    app = GitHubApp(error=True)
    async with before(app, tmp_path) as gateway:
        person = await signed_in(gateway)
        gateway.clock.now += 3550
        bearer = await refreshed_bearer(gateway, person)
        gateway.clock.now += 100
        answer = await gateway.http.post("/mcp", headers=bearer, json=CALL)
        assert answer.status_code == 401
        assert challenge_of(answer)["error"] == "invalid_token"
    assert app.seen == []


@pytest.mark.parametrize(("later", "status"), [(3550, 200), (3650, 502)])
async def test_an_upstream_in_trouble_matters_only_when_the_old_token_is_past_its_time(
    tmp_path: Path, later: float, status: int
) -> None:
    app = GitHubApp(broken=500)
    async with before(app, tmp_path) as gateway:
        person = await signed_in(gateway)
        gateway.clock.now += later
        bearer = await refreshed_bearer(gateway, person)
        assert (await gateway.http.post("/mcp", headers=bearer, json=CALL)).status_code == status
        # The sign-in is not lost: the upstream recovers, and so do we.
        app.broken = 0
        assert (await gateway.http.post("/mcp", headers=bearer, json=CALL)).status_code == 200


async def test_without_userinfo_the_subject_is_made_from_the_token(tmp_path: Path) -> None:
    app = GitHubApp()
    async with before(app, tmp_path) as gateway:
        one, two = await signed_in(gateway), await signed_in(gateway)
        assert gateway.config.auth is not None
    assert one.access_token != two.access_token
    assert "name" not in one.answer
