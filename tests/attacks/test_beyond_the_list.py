"""What the checklist does not name: the grants of another upstream, tossed cookies, split responses."""

import json
from pathlib import Path

import pytest
from aiohttp import web

from tests.servers.gateway.harness import CALLBACK, Site, configured, settings, site, upstream_of
from tests.servers.gateway.mcp_upstream import Recorder
from tests.servers.gateway.reading import cookies_of, decoded, form_in, query_of
from workshop.servers.practice.catalog import load


async def test_a_store_that_meets_another_remote_server_sends_it_no_token_of_the_first(
    tmp_path: Path, practice: str
) -> None:
    recorder = Recorder()
    values = settings(tmp_path, upstream=practice)
    async with site(configured(tmp_path, values)) as gateway:
        person = await gateway.sign_in()
    async with upstream_of(recorder.route()) as other:
        values["remote_url"] = f"{other}/mcp"
        async with site(configured(tmp_path, values)) as gateway:
            assert (await gateway.call(person.bearer)).status_code == 401
            assert (await gateway.refresh(person.client_id, person.refresh_token)).status_code == 400
    assert recorder.requests == []


@pytest.mark.parametrize("changed", ["token_endpoint", "client_id"])
async def test_a_store_that_meets_another_upstream_knows_nobody_of_the_first(
    tmp_path: Path, practice: str, changed: str
) -> None:
    values = settings(tmp_path, upstream=practice)
    async with site(configured(tmp_path, values)) as gateway:
        person = await gateway.sign_in()
    values["auth"]["upstream"][changed] += "-of-another"
    async with site(configured(tmp_path, values)) as gateway:
        assert (await gateway.call(person.bearer)).status_code == 401


async def test_the_same_number_at_two_upstreams_is_two_people(tmp_path: Path, practice: str) -> None:
    values = settings(tmp_path, upstream=practice)
    async with site(configured(tmp_path, values)) as gateway:
        first = await gateway.sign_in()
    user = web.get("/user", _learner_s_twin)
    token = web.post("/login/oauth/access_token", _token)
    async with upstream_of(user, token) as other:
        upstream = values["auth"]["upstream"]
        upstream["token_endpoint"] = f"{other}/login/oauth/access_token"
        upstream["userinfo"]["url"] = f"{other}/user"
        async with site(configured(tmp_path, values)) as gateway:
            second = await gateway.sign_in()
    subjects = {decoded(person.access_token)[1]["sub"] for person in (first, second)}
    assert len(subjects) == 2


async def _token(request: web.Request) -> web.Response:
    del request
    return web.json_response({"access_token": "practice_twin", "token_type": "bearer"})


async def _learner_s_twin(request: web.Request) -> web.Response:
    del request
    return web.json_response({"id": load().users["learner"].id, "login": "learner"})


async def test_a_cookie_tossed_from_another_port_hands_out_no_code_of_another_s_sign_in(
    gateway: Site,
) -> None:
    client_id = await gateway.register()
    to_upstream = await gateway.decide(await gateway.authorize(client_id))
    back = await gateway.at_upstream(to_upstream)
    (name,) = [name for name in gateway.browser.cookies if name.endswith("-back")]
    victim = gateway.another_browser()
    async with victim:
        for cookie in ("", "x" * 43, "; ".join([name] * 3)):
            headers = {"Cookie": f"{name}={cookie}"}
            answer = await victim.get(back.headers["location"], headers=headers)
            assert answer.status_code in {400, 403}


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-site", "Origin": "null"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost:9999"},
    ],
    ids=str,
)
async def test_a_form_from_another_port_of_localhost_approves_nothing(
    gateway: Site, headers: dict[str, str]
) -> None:
    action, fields = form_in(await gateway.authorize(await gateway.register()))
    sent = {**fields, "decision": "approve"}
    assert (await gateway.browser.post(action, data=sent, headers=headers)).status_code == 403


@pytest.mark.parametrize(
    "state", ["a\r\nSet-Cookie: workshop=1", "a\nLocation: https://evil.test", "\u010d\u010a"]
)
async def test_no_parameter_splits_a_response(gateway: Site, state: str) -> None:
    answer = await gateway.authorize(await gateway.register(), state=state, response_type="token")
    assert answer.headers["location"].startswith(CALLBACK + "?")
    assert answer.headers["location"].isascii()
    assert not set("\r\n") & set(answer.headers["location"])
    assert cookies_of(answer) == []
    assert query_of(answer)["state"] == state


async def test_a_registration_that_says_something_twice_is_refused(gateway: Site) -> None:
    body = json.dumps({"redirect_uris": [CALLBACK]})[:-1] + ', "redirect_uris": ["https://evil.test/cb"]}'
    answer = await gateway.http.post(
        "/oauth/register", content=body, headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")


async def test_a_name_that_looks_like_another_s_vouches_for_nothing(gateway: Site) -> None:
    name = "Cl\u0430ude \u2028\u2066Code"  # Cyrillic a, a line separator, an isolate
    page = (await gateway.authorize(await gateway.register(client_name=name))).text
    assert "Cl\u0430ude Code" in page
    assert "nobody has verified its name" in page
    assert "<strong>localhost:8765</strong>" in page


@pytest.mark.parametrize(
    "path", ["/oauth/authorize", "/oauth/callback", "/oauth/consent", "/oauth/token", "/mcp"]
)
async def test_head_has_no_effect(gateway: Site, path: str) -> None:
    answer = await gateway.http.head(path)
    assert answer.status_code == 405
    assert cookies_of(answer) == []


async def test_a_client_that_names_itself_like_a_subject_is_still_a_client(gateway: Site) -> None:
    """RFC 9700 section 4.15: client ids are ours, or URLs; no client chooses to be a user's `sub`."""
    person = await gateway.sign_in()
    sub = decoded(person.access_token)[1]["sub"]
    registered = await gateway.register(client_id=sub)
    assert registered != sub
    assert (await gateway.authorize(sub)).status_code == 400
