"""Attacks on consent, callback and the binding to one browser (checklist T24 to T41)."""

from pathlib import Path

import httpx2
import pytest
from aiohttp import web

from tests.servers.gateway.harness import (
    CALLBACK,
    ISSUER,
    PATIENT,
    Site,
    configured,
    settings,
    site,
    upstream_of,
)
from tests.servers.gateway.reading import cookies_of, form_in, origin_of, query_of
from workshop.auth.limits import Patience


async def test_t24_the_page_shows_a_hostile_client_name_as_text(gateway: Site) -> None:
    client_id = await gateway.register(client_name='<script>alert(1)</script>"><img src=x onerror=y>')
    page = await gateway.authorize(client_id)
    assert "<script" not in page.text
    assert "<img" not in page.text
    assert "&lt;script&gt;" in page.text


async def test_t24_the_page_reports_who_asks_for_what_and_where_the_browser_goes(gateway: Site) -> None:
    client_id = await gateway.register(client_name="Trail notes", redirect_uris=["https://notes.test/cb"])
    page = await gateway.authorize(client_id, redirect_uri="https://notes.test/cb")
    for shown in ("Trail notes", client_id, "notes.test", "offline_access", "read:org", "Approve", "Deny"):
        assert shown in page.text


async def test_t25_pages_stay_out_of_frames_caches_and_referrers(gateway: Site) -> None:
    asking, refusing = await gateway.authorize(await gateway.register()), await gateway.authorize("unknown")
    # Only the page with a form tells where it is, and only ourselves: its Origin must not become `null`.
    for page, referrer in ((asking, "same-origin"), (refusing, "no-referrer")):
        policy = page.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["x-frame-options"] == "DENY"
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == referrer
        assert page.headers["x-content-type-options"] == "nosniff"
        assert "<script" not in page.text
        assert "http://" not in page.text.split("</head>")[0]


@pytest.mark.parametrize("csrf", ["", "wrong", "x" * 43, "é"])
async def test_t26_a_wrong_csrf_token_approves_nothing(gateway: Site, csrf: str) -> None:
    answer = await gateway.decide(await gateway.authorize(await gateway.register()), csrf=csrf)
    assert answer.status_code == 403
    assert "location" not in answer.headers


@pytest.mark.parametrize("ticket", ["", "00", "zz", "00" * 200])
async def test_t26_a_forged_ticket_approves_nothing(gateway: Site, ticket: str) -> None:
    answer = await gateway.decide(await gateway.authorize(await gateway.register()), ticket=ticket)
    assert answer.status_code == 403


async def test_t26_the_csrf_token_of_another_sign_in_approves_nothing(gateway: Site) -> None:
    client_id = await gateway.register()
    _, other = form_in(await gateway.authorize(client_id))
    answer = await gateway.decide(await gateway.authorize(client_id), csrf=other["csrf"])
    assert answer.status_code == 403


async def test_t26_a_form_filled_in_one_browser_cannot_be_sent_from_another(gateway: Site) -> None:
    page = await gateway.authorize(await gateway.register())
    action, fields = form_in(page)
    async with gateway.another_browser() as victim:
        answer = await victim.post(action, data={**fields, "decision": "approve"}, headers=origin_of(action))
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "origins",
    [[], ["null"], ["https://evil.example"], [ISSUER.replace("localhost", "127.0.0.1")], [ISSUER, ISSUER]],
)
async def test_t26_a_form_needs_exactly_one_origin_and_it_is_ours(gateway: Site, origins: list[str]) -> None:
    """As ToolHive's page since 0.55: browsers send it with every form."""
    page = await gateway.authorize(await gateway.register())
    action, fields = form_in(page)
    sent = {**fields, "decision": "approve"}
    headers = [("Origin", origin) for origin in origins]
    answer = await gateway.browser.post(action, data=sent, headers=headers)
    assert answer.status_code == 403
    assert (await gateway.decide(page)).status_code == 303, "the page itself is still good"


async def test_the_way_back_has_a_secret_of_its_own(gateway: Site) -> None:
    page = await gateway.authorize(await gateway.register())
    (of_the_page,) = cookies_of(page)
    back = await gateway.at_upstream(await gateway.decide(page))
    name, _, value = of_the_page.partition(";")[0].partition("=")
    stolen = f"{name}={value}; {name}-back={value}"
    async with gateway.another_browser() as thief:
        answer = await thief.get(back.headers["location"], headers={"Cookie": stolen})
    assert answer.status_code == 403


@pytest.mark.parametrize("first", ["approve", "deny"])
@pytest.mark.parametrize("second", ["approve", "deny"])
async def test_t27_a_decision_cannot_be_sent_again(gateway: Site, first: str, second: str) -> None:
    page = await gateway.authorize(await gateway.register())
    cookie = dict(gateway.browser.cookies)
    assert (await gateway.decide(page, first)).status_code == 303
    for name, value in cookie.items():
        gateway.browser.cookies.set(name, value)
    assert (await gateway.decide(page, second)).status_code == 400


async def test_t29_consent_for_one_client_is_none_for_another_nor_for_the_next_time(gateway: Site) -> None:
    first = await gateway.register(client_name="First")
    await gateway.code(first)
    for client_id in (await gateway.register(client_name="Second"), first):
        page = await gateway.authorize(client_id)
        assert page.status_code == 200
        assert "Approve" in page.text


async def test_t29_a_ticket_cannot_be_moved_to_another_client(gateway: Site) -> None:
    _, stolen = form_in(await gateway.authorize(await gateway.register()))
    answer = await gateway.decide(await gateway.authorize(await gateway.register()), ticket=stolen["ticket"])
    assert answer.status_code == 403


async def pending(gateway: Site) -> str:
    """A callback address with a valid state and code, not yet visited."""
    to_upstream = await gateway.decide(await gateway.authorize(await gateway.register()))
    back = await gateway.at_upstream(to_upstream)
    return str(back.headers["location"])


async def test_t30_a_callback_in_a_browser_that_did_not_consent_hands_out_nothing(gateway: Site) -> None:
    callback = await pending(gateway)
    async with gateway.another_browser() as victim:
        answer = await victim.get(callback)
    assert answer.status_code == 403
    assert "location" not in answer.headers
    # And the sign-in is over: it has met a browser it should never have met.
    assert (await gateway.browser.get(callback)).status_code == 400


async def test_t31_a_callback_with_the_cookie_of_another_sign_in_hands_out_nothing(gateway: Site) -> None:
    callback = await pending(gateway)
    (name,) = [name for name in gateway.browser.cookies if name.endswith("-back")]
    async with gateway.another_browser() as attacker:
        await attacker.get("/oauth/authorize", params=gateway.authorize_parameters(await gateway.register()))
        (value,) = attacker.cookies.values()
        answer = await gateway.http.get(callback, headers={"Cookie": f"{name}={value}"})
    assert answer.status_code == 403


async def test_t32_a_state_works_once(gateway: Site) -> None:
    callback = await pending(gateway)
    cookies = dict(gateway.browser.cookies)
    assert (await gateway.browser.get(callback)).status_code == 303
    for name, value in cookies.items():
        gateway.browser.cookies.set(name, value)
    assert (await gateway.browser.get(callback)).status_code == 400


async def test_t33_a_state_older_than_ten_minutes_is_dead(gateway: Site) -> None:
    callback = await pending(gateway)
    gateway.clock.now += 601
    assert (await gateway.browser.get(callback)).status_code == 400


async def test_t33_a_consent_page_older_than_ten_minutes_is_dead(gateway: Site) -> None:
    page = await gateway.authorize(await gateway.register())
    gateway.clock.now += 601
    assert (await gateway.decide(page)).status_code == 400


async def test_a15_the_upstream_state_does_not_exist_before_consent(gateway: Site) -> None:
    page = await gateway.authorize(await gateway.register())
    assert "login/oauth" not in page.text
    assert gateway_rows(gateway, "pending") == 0
    await gateway.decide(page)
    assert gateway_rows(gateway, "pending") == 1


def gateway_rows(gateway: Site, table: str) -> int:
    import sqlite3

    with sqlite3.connect(gateway.config.store) as connection:
        count: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    connection.close()
    return count


@pytest.mark.parametrize("error", ["access_denied", "server_error", "<script>", "redirect_uri_mismatch"])
async def test_t34_the_upstream_s_words_do_not_reach_the_client(gateway: Site, error: str) -> None:
    to_upstream = await gateway.decide(await gateway.authorize(await gateway.register()))
    sent = {"state": query_of(to_upstream)["state"], "error": error, "error_description": "<b>words</b>"}
    answer = await gateway.browser.get(f"{ISSUER}/oauth/callback", params=sent)
    told = query_of(answer)
    # Only GitHub's own code for it says that a person denied it.
    assert told["error"] == ("access_denied" if error == "access_denied" else "server_error")
    assert told["iss"] == ISSUER
    assert told["state"] == "the-client-state"
    assert "words" not in answer.headers["location"]
    assert "3Cscript" not in answer.headers["location"]


async def test_t34_an_error_beside_a_code_is_an_error(gateway: Site) -> None:
    callback = await pending(gateway)
    assert query_of(await gateway.browser.get(f"{callback}&error=access_denied"))["error"] == "access_denied"


@pytest.mark.parametrize(
    "query", ["", "code=x", "state=unknown", "state=unknown&code=x", "state=a&state=b&code=c"]
)
async def test_t35_a_callback_without_code_or_known_state_gets_a_page(gateway: Site, query: str) -> None:
    answer = await gateway.browser.get(f"{ISSUER}/oauth/callback?{query}")
    assert answer.status_code == 400
    assert "location" not in answer.headers


@pytest.mark.parametrize("method", ["HEAD", "POST"])
async def test_a_callback_is_consumed_by_get_only(gateway: Site, method: str) -> None:
    callback = await pending(gateway)
    assert (await gateway.browser.request(method, callback)).status_code == 405
    assert (await gateway.browser.get(callback)).status_code == 303


def answering(status: int, body: str | bytes, kind: str = "application/json") -> web.RouteDef:
    async def token(request: web.Request) -> web.Response:
        del request
        sent = body if isinstance(body, bytes) else body.encode()
        return web.Response(status=status, body=sent, content_type=kind)

    return web.post("/login/oauth/access_token", token)


async def slow(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b'{"access_token": ')
    import asyncio

    await asyncio.Event().wait()
    return response


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65536)


BROKEN = {
    "200 with error": (
        answering(200, '{"error":"bad_verification_code","error_description":"SECRETWORDS"}'),
        "server_error",
    ),
    "html": (answering(200, "<h1>SECRETWORDS</h1>", "text/html"), "server_error"),
    "500": (answering(500, "SECRETWORDS", "text/plain"), "server_error"),
    "empty": (answering(200, ""), "server_error"),
    "huge": (answering(200, b'"' + b"x" * 10_000_000 + b'"'), "server_error"),
    "deep": (answering(200, "[" * 100_000), "server_error"),
    "a list": (answering(200, "[]"), "server_error"),
    "no token": (answering(200, "{}"), "server_error"),
    "a number": (answering(200, '{"access_token": 7}'), "server_error"),
    "a token with a line break": (answering(200, '{"access_token": "a\\r\\nX-Evil: 1"}'), "server_error"),
    "another token type": (answering(200, '{"access_token": "a", "token_type": "mac"}'), "server_error"),
    "slow": (web.post("/login/oauth/access_token", slow), "temporarily_unavailable"),
    "endless": (web.post("/login/oauth/access_token", endless), "server_error"),
    "missing": (web.post("/elsewhere", slow), "server_error"),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_t36_t37_a_broken_upstream_ends_the_sign_in_in_bounded_time_and_memory(
    tmp_path: Path, case: str
) -> None:
    route, error = BROKEN[case]
    patience = Patience(sign_in=0.5) if case == "slow" else PATIENT
    async with (
        upstream_of(route) as upstream,
        site(configured(tmp_path, settings(tmp_path, upstream=upstream)), patience=patience) as gateway,
    ):
        to_upstream = await gateway.decide(await gateway.authorize(await gateway.register()))
        sent = {"state": query_of(to_upstream)["state"], "code": "a-code"}
        answer = await gateway.browser.get(f"{ISSUER}/oauth/callback", params=sent)
    assert answer.headers["location"].startswith(CALLBACK)
    told = query_of(answer)
    assert told["error"] == error
    assert told["iss"] == ISSUER
    assert "SECRETWORDS" not in answer.headers["location"] + answer.text


@pytest.mark.parametrize("redirected", ["/user", "http://127.0.0.1:1/"])
async def test_t37_a_redirect_from_the_upstream_s_token_endpoint_is_not_followed(
    tmp_path: Path, redirected: str
) -> None:
    visited: list[str] = []

    async def token(request: web.Request) -> web.Response:
        del request
        return web.Response(status=307, headers={"Location": redirected})

    async def user(request: web.Request) -> web.Response:
        visited.append(request.path)
        return web.json_response({})

    routes = (web.post("/login/oauth/access_token", token), web.route("*", "/user", user))
    async with (
        upstream_of(*routes) as upstream,
        site(configured(tmp_path, settings(tmp_path, upstream=upstream))) as gateway,
    ):
        to_upstream = await gateway.decide(await gateway.authorize(await gateway.register()))
        sent = {"state": query_of(to_upstream)["state"], "code": "a-code"}
        answer = await gateway.browser.get(f"{ISSUER}/oauth/callback", params=sent)
    assert query_of(answer)["error"] == "server_error"
    assert visited == []


def flags_of(cookie: str) -> set[str]:
    return {part.strip().lower() for part in cookie.split(";")[1:]}


async def test_t40_the_cookie_is_http_only_lax_and_for_the_whole_host(gateway: Site) -> None:
    page = await gateway.authorize(await gateway.register())
    (cookie,) = cookies_of(page)
    assert {"httponly", "samesite=lax", "path=/", "max-age=600"} <= flags_of(cookie)
    assert not any(flag.startswith("domain") for flag in flags_of(cookie))
    (renewed,) = cookies_of(await gateway.decide(page))
    assert flags_of(renewed) == flags_of(cookie)


async def test_t40_under_https_the_cookie_is_secure_and_bound_to_the_host(tmp_path: Path) -> None:
    values = settings(tmp_path)
    values["auth"] |= {
        "issuer": "https://gateway.test",
        "audience": "https://gateway.test/",
        "resource_url": "https://gateway.test/",
    }
    values["auth"]["upstream"]["redirect_uri"] = "https://gateway.test/oauth/callback"
    async with site(configured(tmp_path, values)) as gateway:
        transport = httpx2.ASGITransport(app=gateway.app)
        async with httpx2.AsyncClient(transport=transport, base_url="https://gateway.test") as browser:
            document = {"redirect_uris": [CALLBACK]}
            client_id = (await browser.post("/oauth/register", json=document)).json()["client_id"]
            parameters = gateway.authorize_parameters(client_id, resource="https://gateway.test/")
            page = await browser.get("/oauth/authorize", params=parameters)
    (cookie,) = cookies_of(page)
    assert cookie.startswith("__Host-")
    assert {"secure", "httponly", "samesite=lax", "path=/"} <= flags_of(cookie)


async def test_t40_the_cookie_is_gone_after_the_sign_in(gateway: Site) -> None:
    await gateway.code(await gateway.register())
    assert not list(gateway.browser.cookies.keys() & {n for n in gateway.browser.cookies if "gateway" in n})


async def test_t41_a_denial_reaches_the_client_and_leaves_nothing_behind(gateway: Site) -> None:
    answer = await gateway.decide(await gateway.authorize(await gateway.register()), "deny")
    told = query_of(answer)
    assert told["error"] == "access_denied"
    assert told["iss"] == ISSUER
    assert [gateway_rows(gateway, table) for table in ("pending", "grants", "codes")] == [0, 0, 0]


@pytest.mark.parametrize("decision", ["", "yes", "Approve"])
async def test_a_decision_that_is_none_is_no_approval(gateway: Site, decision: str) -> None:
    assert (
        await gateway.decide(await gateway.authorize(await gateway.register()), decision)
    ).status_code == 400


async def test_two_sign_ins_in_one_browser_do_not_disturb_each_other(gateway: Site) -> None:
    client_id = await gateway.register()
    pages = [await gateway.authorize(client_id), await gateway.authorize(client_id)]
    for page in pages:
        back = await gateway.at_upstream(await gateway.decide(page))
        assert "code" in query_of(await gateway.browser.get(back.headers["location"]))


async def test_the_page_names_its_hop_and_who_registered_the_client(gateway: Site) -> None:
    page = await gateway.authorize(await gateway.register())
    assert "Hop 5 of 9: consent." in page.text
    assert "registered by the application itself; nobody has verified its name" in page.text
    assert "through this gateway" in page.text
