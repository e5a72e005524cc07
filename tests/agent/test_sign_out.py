"""A login ends at its server first, and only then here."""

import base64
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from mcp.shared.auth import OAuthClientInformationFull, OAuthMetadata, OAuthToken
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.agent.conftest import Serve
from workshop.agent.token_store import Login, SignedOut, TokenStore, sign_out
from workshop.core.ports import free_port


@dataclass
class Revoker:
    """A revocation endpoint that records what it is sent, and answers each kind of token as told."""

    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    forms: list[dict[str, str]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/revoke", self._revoke, methods=["POST"])])

    async def _revoke(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        self.forms.append(form)
        self.authorizations.append(request.headers.get("authorization"))
        status, error = self.answers.get(form["token_type_hint"], (200, ""))
        return JSONResponse({"error": error} if error else {}, status)


def login(
    url: str, *, refresh: str | None = "practice_refresh", client: dict[str, str] | None = None
) -> Login:
    metadata = {name: f"{url}/{name}" for name in ("authorization_endpoint", "token_endpoint")}
    return Login(
        resource=f"{url}/mcp",
        issuer=url,
        client=OAuthClientInformationFull.model_validate({"client_id": "a client", **(client or {})}),
        authorization_server=OAuthMetadata.model_validate(
            {"issuer": url, "revocation_endpoint": f"{url}/revoke", **metadata}
        ),
        tokens=OAuthToken(access_token="practice_access", refresh_token=refresh),
        expires_at=time.time() + 60,
    )


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    return TokenStore(tmp_path / "logins")


async def end(store: TokenStore, stored: Login, *, forget: bool = False) -> SignedOut:
    store.save(stored)
    (ended,) = await sign_out(store, [stored], forget=forget)
    return ended


async def test_the_refresh_token_is_revoked_first_then_the_access_token(
    store: TokenStore, serve: Serve
) -> None:
    revoker = Revoker()
    async with serve(revoker.app(), free_port()) as url:
        ended = await end(store, login(url))
    assert [form["token"] for form in revoker.forms] == ["practice_refresh", "practice_access"]
    assert {form["client_id"] for form in revoker.forms} == {"a client"}
    assert (ended.ended, ended.forgotten, ended.told) == (True, True, "Revoked")
    assert store.all() == []


async def test_what_another_run_refreshed_meanwhile_is_revoked(store: TokenStore, serve: Serve) -> None:
    revoker = Revoker()
    async with serve(revoker.app(), free_port()) as url:
        store.save(login(url, refresh="practice_newer"))
        await sign_out(store, [login(url)], forget=False)
    assert revoker.forms[0]["token"] == "practice_newer"


@pytest.mark.parametrize("answer", [(503, "temporarily_unavailable"), (400, "invalid_request"), (302, "")])
@pytest.mark.parametrize("forget", [False, True])
async def test_a_server_that_does_not_revoke_keeps_the_login_unless_told_to_forget(
    store: TokenStore, serve: Serve, answer: tuple[int, str], *, forget: bool
) -> None:
    revoker = Revoker({"refresh_token": answer})
    async with serve(revoker.app(), free_port()) as url:
        ended = await end(store, login(url), forget=forget)
    assert not ended.ended
    assert f"{answer[0]} {answer[1]}".strip() in ended.told
    assert len(revoker.forms) == 1
    assert (store.all() == []) is forget is ended.forgotten


async def test_a_server_that_cannot_be_reached_keeps_the_login(store: TokenStore) -> None:
    ended = await end(store, login(f"http://localhost:{free_port()}"))
    assert (ended.ended, ended.forgotten) == (False, False)
    assert "cannot be reached" in ended.told
    assert len(store.all()) == 1


async def test_a_server_without_revocation_is_said_to_have_none(store: TokenStore) -> None:
    stored = login("http://localhost:1")
    stored.authorization_server.revocation_endpoint = None
    assert "no revocation endpoint" in (await end(store, stored)).told


async def test_no_token_is_sent_over_plain_http(store: TokenStore) -> None:
    stored = login("https://server.example")
    stored.authorization_server.revocation_endpoint = AnyHttpUrl("http://server.example/revoke")
    ended = await end(store, stored)
    assert "neither https nor on this machine" in ended.told
    assert not ended.forgotten


async def test_an_access_token_that_cannot_be_revoked_is_reported(store: TokenStore, serve: Serve) -> None:
    revoker = Revoker({"access_token": (400, "unsupported_token_type")})
    async with serve(revoker.app(), free_port()) as url:
        ended = await end(store, login(url))
    assert ended.forgotten
    assert "until it expires" in ended.told


async def test_a_lost_public_client_has_lost_its_tokens(store: TokenStore, serve: Serve) -> None:
    revoker = Revoker({"refresh_token": (401, "invalid_client")})
    async with serve(revoker.app(), free_port()) as url:
        assert (await end(store, login(url))).forgotten
        secret = {"client_secret": "practice_secret", "token_endpoint_auth_method": "client_secret_post"}
        assert not (await end(store, login(url, client=secret))).forgotten


async def test_a_client_with_a_secret_shows_it_the_way_it_was_registered(
    store: TokenStore, serve: Serve
) -> None:
    revoker = Revoker()
    secret = {"client_secret": "practice secret"}
    async with serve(revoker.app(), free_port()) as url:
        await end(store, login(url, client={**secret, "token_endpoint_auth_method": "client_secret_post"}))
        await end(store, login(url, client={**secret, "token_endpoint_auth_method": "client_secret_basic"}))
    posted, basic = revoker.forms[0], revoker.forms[2]
    assert posted["client_secret"] == "practice secret"
    assert not {"client_id", "client_secret"} & basic.keys()
    pair = base64.b64encode(b"a%20client:practice%20secret").decode()
    assert revoker.authorizations[2] == f"Basic {pair}"
