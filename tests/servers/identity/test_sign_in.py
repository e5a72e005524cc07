"""Sign in at the practice identity provider: who may, where it leads, and what nobody can do there."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.servers.gateway.harness import CALLBACK
from tests.servers.gateway.reading import cookies_of, decoded, form_in, origin_of, query_of
from tests.servers.identity.provider import ISSUER, RESOURCE, Provider, browser, provider, settings


async def test_a_token_reports_who_signed_in_and_for_whom(identity: Provider) -> None:
    answer = await identity.sign_in("mentor")
    header, claims = decoded(answer["access_token"])
    assert (header["typ"], header["alg"]) == ("at+jwt", "ES256")
    assert (claims["iss"], claims["aud"]) == (ISSUER, [RESOURCE])
    assert claims["exp"] - claims["iat"] == answer["expires_in"] == 300
    assert claims["client_id"] == answer["client_id"]
    assert (claims["name"], claims["preferred_username"]) == ("Max Mentor", "mentor")
    assert claims["scope"] == "openid profile email offline_access"
    assert claims["sub"] not in {"mentor", "9000002"}


async def test_a_person_is_the_same_subject_each_time(identity: Provider) -> None:
    people = ("learner", "learner", "mentor")
    subjects = [decoded((await identity.sign_in(who))["access_token"])[1]["sub"] for who in people]
    assert subjects[0] == subjects[1] != subjects[2]


async def test_the_name_is_for_clients_that_asked(identity: Provider) -> None:
    _, claims = decoded((await identity.sign_in(scope="openid"))["access_token"])
    assert "name" not in claims
    assert "email" not in claims
    assert claims["preferred_username"] == "learner"


async def test_a_refresh_keeps_the_person(identity: Provider) -> None:
    first = await identity.sign_in()
    answer = await identity.token(
        first["client_id"], grant_type="refresh_token", refresh_token=first["refresh_token"]
    )
    before, after = decoded(first["access_token"])[1], decoded(answer.json()["access_token"])[1]
    names = ("sub", "aud", "name", "preferred_username")
    assert [before[name] for name in names] == [after[name] for name in names]


async def test_consent_comes_first_and_reports_what_happens(identity: Provider) -> None:
    page = await identity.authorize(await identity.register())
    assert page.status_code == 200
    assert "MCP server at <strong>localhost:8121</strong> as you. Approve" in page.text
    assert "To the sign-in page of this server." in page.text
    for word in ("gateway", "GitHub", "Back here"):
        assert word not in page.text
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


async def test_the_sign_in_page_offers_the_practice_users(identity: Provider) -> None:
    page = await identity.login_page(await identity.register())
    assert page.status_code == 200
    for login in ("learner", "mentor"):
        assert f'name="user" value="{login}"' in page.text
    assert form_in(page)[0] == f"{ISSUER}/login"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"


async def test_it_leads_to_its_own_callback_only(identity: Provider) -> None:
    page = await identity.login_page(await identity.register())
    back = await identity.choose(
        page, user="learner", redirect_uri="https://elsewhere.example/", callback="//elsewhere.example"
    )
    assert back.status_code == 303
    where = urlsplit(back.headers["location"])
    assert f"{where.scheme}://{where.netloc}{where.path}" == f"{ISSUER}/oauth/callback"
    assert set(query_of(back)) == {"code", "state"}


async def test_cancelling_is_reported_to_the_client(identity: Provider) -> None:
    page = await identity.login_page(await identity.register())
    back = await identity.choose(page, decision="deny")
    arrived = await identity.browser.get(back.headers["location"])
    assert arrived.headers["location"].startswith(CALLBACK)
    told = query_of(arrived)
    assert (told["error"], told["state"], told["iss"]) == ("access_denied", "the-client-state", ISSUER)


async def test_without_a_sign_in_under_way_there_is_no_page(identity: Provider) -> None:
    for path in ("/login", "/login?state=", "/login?state=made-up", "/login?state=a&state=b"):
        answer = await identity.browser.get(path)
        assert answer.status_code == 400
        assert "No sign-in is waiting" in answer.text
    sent = await identity.browser.post("/login", data={"user": "learner"}, headers=origin_of(ISSUER))
    assert sent.status_code == 400
    assert (await identity.browser.put("/login")).status_code == 405


async def test_the_page_belongs_to_the_browser_that_approved(identity: Provider) -> None:
    to_login = await identity.to_login(await identity.register())
    address = to_login.headers["location"]
    async with browser(identity.app) as another:
        assert (await another.get(address)).status_code == 403
        state = query_of(to_login)["state"]
        sent = {"state": state, "user": "mentor"}
        answer = await another.post("/login", data=sent, headers=origin_of(address))
        assert answer.status_code == 403
        assert "code" not in answer.headers.get("location", "")
    page = await identity.browser.get(address)
    assert page.status_code == 200, "nobody else can end it"


async def test_another_site_s_form_is_refused(identity: Provider) -> None:
    action, fields = form_in(await identity.login_page(await identity.register()))
    sent = {**fields, "user": "learner"}
    for headers, status in (
        ({}, 403),
        ({"origin": "https://elsewhere.example"}, 403),
        ({"origin": "null", "sec-fetch-site": "same-origin"}, 403),
        (origin_of(action), 303),
    ):
        assert (await identity.browser.post(action, data=sent, headers=headers)).status_code == status


async def test_a_sign_in_ends_once(identity: Provider) -> None:
    page = await identity.login_page(await identity.register())
    first = await identity.choose(page, user="learner")
    second = await identity.choose(page, user="mentor")
    assert (await identity.browser.get(first.headers["location"])).status_code == 303
    assert (await identity.browser.get(second.headers["location"])).status_code == 400
    assert (await identity.choose(page, user="learner")).status_code == 400


async def test_a_sign_in_s_code_is_for_that_sign_in_and_for_a_minute(identity: Provider) -> None:
    client_id = await identity.register()
    one, other = [await identity.login_page(client_id) for _ in range(2)]
    codes = [query_of(await identity.choose(page, user="learner")) for page in (one, other)]
    swapped = {"code": codes[0]["code"], "state": codes[1]["state"]}
    answer = await identity.browser.get("/oauth/callback", params=swapped)
    assert query_of(answer)["error"] == "server_error"
    identity.clock.now += 60
    late = await identity.browser.get("/oauth/callback", params=codes[0])
    assert query_of(late)["error"] == "server_error"


@pytest.mark.parametrize("code", ["", "zz", "00", "é", "00" * 64])
async def test_a_made_up_code_is_refused(code: str, identity: Provider) -> None:
    to_login = await identity.to_login(await identity.register())
    state = query_of(to_login)["state"]
    answer = await identity.browser.get("/oauth/callback", params={"state": state, "code": code})
    assert answer.status_code == 400 or "error" in query_of(answer)


async def test_a_sign_in_waits_ten_minutes(identity: Provider) -> None:
    page = await identity.login_page(await identity.register())
    identity.clock.now += 601
    assert (await identity.choose(page, user="learner")).status_code == 400


async def test_nobody_else_is_known(identity: Provider) -> None:
    page = await identity.login_page(await identity.register())
    for user in ("admin", "", "deny", "Learner"):
        assert (await identity.choose(page, user=user)).status_code == 400


async def test_cookies_stay_out_of_scripts_and_other_sites(identity: Provider) -> None:
    page = await identity.authorize(await identity.register())
    [cookie] = cookies_of(page)
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie


async def test_a_sign_in_survives_a_restart(tmp_path: Path) -> None:
    values = settings(tmp_path)
    async with provider(values) as before:
        signed_in = await before.sign_in()
        waiting = await before.login_page(await before.register())
        cookies = before.browser.cookies
    async with provider(values) as after:
        answer = await after.token(
            signed_in["client_id"], grant_type="refresh_token", refresh_token=signed_in["refresh_token"]
        )
        assert answer.status_code == 200
        after.browser.cookies = cookies
        assert (await after.choose(waiting, user="learner")).status_code == 303


async def test_tokens_are_never_refreshed_for_another_resource(tmp_path: Path) -> None:
    async with provider(settings(tmp_path)) as before:
        signed_in = await before.sign_in()
    async with provider(settings(tmp_path, resource="http://localhost:9999/mcp")) as after:
        answer = await after.token(
            signed_in["client_id"], grant_type="refresh_token", refresh_token=signed_in["refresh_token"]
        )
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


async def test_a_configured_client_that_asks_who_a_person_is_gets_a_page_about_that(tmp_path: Path) -> None:
    """Its token will have no scope of the resource, so the page speaks of no MCP server."""
    client = {"client_id": "page", "redirect_uris": ["https://page.example/in"], "name": "The gateway's page"}
    values = settings(tmp_path, scopes=["openid", "profile", "tools"], clients=[client], hop=5)
    async with provider(values) as identity:
        asked = {"redirect_uri": "https://page.example/in", "scope": "openid profile"}
        page = await identity.authorize("page", **asked)
        assert "Sign in for “The gateway&#39;s page”?" in page.text
        assert "It may not use an MCP server for you" in page.text
        assert "entered by whoever runs this server" in page.text
        assert "registered by the application itself" not in page.text
        assert "Hop 5 of 9: consent." in page.text
        with_tools = await identity.authorize("page", **{**asked, "scope": "openid tools"})
        assert "asks to use" in with_tools.text
        assert "MCP server at <strong>localhost:8121</strong>" in with_tools.text


async def test_a_provider_without_scopes_of_its_resource_always_speaks_of_the_resource(
    identity: Provider,
) -> None:
    page = await identity.authorize(await identity.register(), scope="openid")
    assert "MCP server at <strong>localhost:8121</strong>" in page.text
