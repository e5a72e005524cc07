"""The upstream's answers, GitHub's oddities and other people's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from aiohttp import web

from tests.servers.gateway.harness import (
    PATIENT,
    PRACTICE_SECRET,
    Clock,
    configured,
    s256,
    settings,
    upstream_of,
)
from workshop.auth.outbound import Outbound
from workshop.auth.store import UpstreamTokens
from workshop.auth.upstream import Trouble, UpstreamError, UpstreamProvider

TOKENS = UpstreamTokens("practice_token", None, None)


@asynccontextmanager
async def provider(
    folder: Path, *routes: web.RouteDef, userinfo: dict[str, Any] | None = None, without: bool = False
) -> AsyncIterator[UpstreamProvider]:
    async with upstream_of(*routes) as upstream, Outbound(PATIENT) as outbound:
        values = settings(folder, upstream=upstream)
        values["auth"]["upstream"]["userinfo"] |= userinfo or {}
        if without:
            values["auth"]["upstream"]["userinfo"] = None
        auth = configured(folder, values).auth
        assert auth is not None
        yield UpstreamProvider(auth.upstream, outbound, Clock())


async def test_the_code_is_exchanged_as_github_wants_it(tmp_path: Path) -> None:
    seen: list[tuple[dict[str, str], tuple[str, str]]] = []

    async def token(request: web.Request) -> web.Response:
        kinds = (request.headers["Accept"], request.headers["Content-Type"])
        seen.append((dict(parse_qsl(await request.text())), kinds))
        return web.json_response({"access_token": "practice_a", "scope": "repo,gist", "token_type": "bearer"})

    async with provider(tmp_path, web.post("/login/oauth/access_token", token)) as upstream:
        assert await upstream.exchange("the-code", "the-verifier") == UpstreamTokens("practice_a", None, None)
    ((fields, kinds),) = seen
    assert kinds == ("application/json", "application/x-www-form-urlencoded")
    assert fields == {
        "grant_type": "authorization_code",
        "code": "the-code",
        "code_verifier": "the-verifier",
        "redirect_uri": "http://localhost:8080/oauth/callback",
        "client_id": "practice-workshop-app",
        "client_secret": PRACTICE_SECRET,
    }


async def test_the_browser_is_sent_with_our_own_state_and_challenge(tmp_path: Path) -> None:
    async with provider(tmp_path) as upstream:
        parameters = upstream.request("our-state", "our-verifier")
    assert parameters == {
        "response_type": "code",
        "client_id": "practice-workshop-app",
        "redirect_uri": "http://localhost:8080/oauth/callback",
        "scope": "repo read:org read:user user:email",
        "state": "our-state",
        "code_challenge": s256("our-verifier"),
        "code_challenge_method": "S256",
    }


def user_is(answer: object, seen: list[dict[str, str]] | None = None) -> web.RouteDef:
    async def user(request: web.Request) -> web.Response:
        if seen is not None:
            seen.append({**request.headers, "method": request.method})
        return web.json_response(answer)

    return web.route("*", "/user", user)


@pytest.mark.parametrize(
    ("answer", "identity"),
    [
        (
            {"id": 583231, "login": "learner", "name": "Lea", "email": "l@x.test"},
            ("583231", "Lea", "l@x.test"),
        ),
        ({"id": None, "login": "learner", "name": None, "email": None}, ("learner", "learner", None)),
        ({"id": True, "login": "learner", "name": "", "email": 0}, ("learner", "learner", "0")),
        ({"id": "a\u202eb", "name": "N\u0000\r\nM" + "x" * 999}, ("ab", "N M" + "x" * 253, None)),
    ],
)
async def test_identity_comes_from_the_first_field_that_has_a_value(
    tmp_path: Path, answer: dict[str, Any], identity: tuple[str, str, str | None]
) -> None:
    async with provider(tmp_path, user_is(answer)) as upstream:
        found = await upstream.identity(TOKENS)
    assert (found.subject, found.name, found.email) == identity


async def test_userinfo_is_asked_with_the_token_the_headers_and_the_method_configured(tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []
    changes = {"method": "POST", "headers": {"Accept": "application/vnd.github+json", "X-Version": "1"}}
    async with provider(tmp_path, user_is({"id": 1}, seen), userinfo=changes) as upstream:
        await upstream.identity(TOKENS)
    (sent,) = seen
    assert sent["Authorization"] == "Bearer practice_token"
    assert sent["Accept"] == "application/vnd.github+json"
    assert sent["X-Version"] == "1"
    assert sent["method"] == "POST"


@pytest.mark.parametrize("answer", [{}, {"id": {}}, {"id": ""}, [], "x", None])
async def test_nobody_signs_in_without_a_subject(tmp_path: Path, answer: object) -> None:
    async with provider(tmp_path, user_is(answer)) as upstream:
        with pytest.raises(UpstreamError) as caught:
            await upstream.identity(TOKENS)
    assert caught.value.trouble is Trouble.UNREADABLE


async def test_without_userinfo_the_subject_is_made_from_the_token(tmp_path: Path) -> None:
    async with provider(tmp_path, without=True) as upstream:
        found = await upstream.identity(TOKENS)
        again = await upstream.identity(TOKENS)
        other = await upstream.identity(UpstreamTokens("practice_other", None, None))
    assert found.subject.startswith("tk-")
    assert len(found.subject) == len("tk-") + 32
    assert found == again != other


async def test_an_upstream_that_is_down_is_unreachable(tmp_path: Path) -> None:
    async with provider(tmp_path) as upstream:
        pass
    async with Outbound(PATIENT) as outbound:
        auth = configured(tmp_path, settings(tmp_path, upstream="http://127.0.0.1:1")).auth
        assert auth is not None
        upstream = UpstreamProvider(auth.upstream, outbound, Clock())
        with pytest.raises(UpstreamError) as caught:
            await upstream.exchange("code", "verifier")
    assert caught.value.trouble is Trouble.UNREACHABLE
