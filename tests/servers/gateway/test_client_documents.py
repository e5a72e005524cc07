"""Clients that are known by a document at their address: a whole sign-in, the cache, and its limits."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.servers.gateway.documents import CLIENT, Library, document, documents_at
from tests.servers.gateway.harness import CALLBACK, DEADLINE, SignedIn, Site, configured, settings, site
from tests.servers.gateway.reading import query_of
from workshop.auth.client_documents import fresh_seconds
from workshop.core.errors import UsageError

WEB = "https://app.example.com/cb"


def described(**changes: Any) -> Library:
    return Library({CLIENT: json.dumps(document(**changes)).encode()})


@asynccontextmanager
async def knowing(folder: Path, practice: str, library: Library, **cimd: Any) -> AsyncIterator[Site]:
    values = settings(folder, upstream=practice)
    values["auth"]["cimd"] = {"enabled": True, **cimd}
    async with site(configured(folder, values), fetch=library) as gateway:
        yield gateway


async def signed_in(gateway: Site, client_id: str = CLIENT) -> SignedIn:
    arrived = await gateway.code(client_id)
    answer = await gateway.redeem(client_id, arrived["code"])
    assert answer.status_code == 200, answer.text
    return SignedIn(client_id, answer.json())


async def test_a9_a10_a_client_signs_in_with_its_address_and_no_registration(
    tmp_path: Path, practice: str
) -> None:
    library = described()
    async with knowing(tmp_path, practice, library) as gateway:
        metadata = (await gateway.http.get("/.well-known/oauth-authorization-server")).json()
        assert metadata["client_id_metadata_document_supported"] is True
        person = await signed_in(gateway)
        assert (await gateway.call(person.bearer)).status_code == 200
    assert library.fetched == [CLIENT]


async def test_a_refresh_and_a_sign_out_work_when_the_document_is_gone_and_after_a_restart(
    tmp_path: Path, practice: str
) -> None:
    async with knowing(tmp_path, practice, described()) as gateway:
        person = await signed_in(gateway)
    gone = Library()
    async with knowing(tmp_path, practice, gone) as gateway:
        gateway.clock.now += 2 * 24 * 3600
        refreshed = await gateway.refresh(CLIENT, person.refresh_token)
        assert refreshed.status_code == 200
        again = SignedIn(CLIENT, refreshed.json())
        assert (await gateway.call(again.bearer)).status_code == 200
        assert gone.fetched == []
        # But nobody new gets in on a document that is not there.
        assert (await gateway.authorize(CLIENT)).status_code == 400
        signing_out = {"client_id": CLIENT, "token": again.refresh_token}
        assert (await gateway.http.post("/oauth/revoke", data=signing_out)).status_code == 200
        assert (await gateway.call(again.bearer)).status_code == 401


async def test_a10_the_consent_page_names_the_hosts_and_warns_of_loopback_only(
    tmp_path: Path, practice: str
) -> None:
    library = described()
    async with knowing(tmp_path, practice, library) as gateway:
        page = (await gateway.authorize(CLIENT)).text
        assert "<strong>client.example.com</strong>" in page
        assert "<strong>localhost:8765</strong>" in page
        assert "any program here can claim to be the" in page
        registered = (await gateway.authorize(await gateway.register())).text
        assert "any program here can claim to be the" not in registered
        assert "client.example.com" not in registered
    library = described(redirect_uris=[CALLBACK, WEB])
    async with knowing(tmp_path, practice, library) as gateway:
        page = (await gateway.authorize(CLIENT, redirect_uri=WEB)).text
        assert "<strong>app.example.com</strong>" in page
        assert "any program here can claim to be the" not in page


async def test_what_other_servers_have_and_we_do_not_is_left_aside(tmp_path: Path, practice: str) -> None:
    library = described(
        grant_types=["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"],
        scope="repo openid profile",
        logo_uri="https://169.254.169.254/logo",
    )
    async with knowing(tmp_path, practice, library) as gateway:
        assert (await gateway.authorize(CLIENT, scope="openid email")).is_redirect
        arrived = await gateway.code(CLIENT, scope=None)
        answer = (await gateway.redeem(CLIENT, arrived["code"])).json()
    assert answer["scope"] == "openid profile"
    assert "refresh_token" not in answer
    assert library.fetched == [CLIENT]


async def test_a_document_is_kept_as_long_as_it_says_and_then_read_again(
    tmp_path: Path, practice: str
) -> None:
    library = described()
    library.headers = {"Cache-Control": "max-age=60"}
    async with knowing(tmp_path, practice, library) as gateway:
        await gateway.authorize(CLIENT)
        gateway.clock.now += 59
        await gateway.authorize(CLIENT)
        assert len(library.fetched) == 1
        gateway.clock.now += 1
        library.bodies[CLIENT] = json.dumps(document(redirect_uris=[WEB])).encode()
        assert (await gateway.authorize(CLIENT)).status_code == 400
        assert (await gateway.authorize(CLIENT, redirect_uri=WEB)).status_code == 200
    assert len(library.fetched) == 2


async def test_a_failure_is_not_kept_and_a_document_that_went_wrong_is_not_replaced_by_the_old_one(
    tmp_path: Path, practice: str
) -> None:
    library = Library()
    async with knowing(tmp_path, practice, library) as gateway:
        assert (await gateway.authorize(CLIENT)).status_code == 400
        library.bodies[CLIENT] = json.dumps(document()).encode()
        assert (await gateway.authorize(CLIENT)).status_code == 200
        gateway.clock.now += 301
        library.bodies[CLIENT] = b"{}"
        assert (await gateway.authorize(CLIENT)).status_code == 400


async def test_only_the_documents_used_last_are_kept(tmp_path: Path, practice: str) -> None:
    urls = [f"https://client{at}.example.com/c" for at in range(3)]
    library = Library({url: json.dumps(document(url)).encode() for url in urls})
    async with knowing(tmp_path, practice, library, cache_size=2) as gateway:
        for url in (*urls, urls[2], urls[1], urls[0]):
            assert (await gateway.authorize(url)).status_code == 200
            gateway.clock.now += 1
    assert library.fetched == [*urls, urls[0]]


async def test_many_sign_ins_at_once_wait_for_one_fetch_and_survive_each_other(
    tmp_path: Path, practice: str
) -> None:
    library = described()
    library.open = asyncio.Event()
    async with knowing(tmp_path, practice, library) as gateway:
        waiting = [asyncio.create_task(gateway.authorize(CLIENT)) for _ in range(20)]
        await asyncio.wait_for(library.asked.wait(), DEADLINE)
        waiting[0].cancel()
        library.open.set()
        pages = await asyncio.wait_for(asyncio.gather(*waiting[1:]), DEADLINE)
    assert {page.status_code for page in pages} == {200}
    assert library.fetched == [CLIENT]


async def test_t71_a_flood_of_addresses_is_not_fetched(tmp_path: Path, practice: str) -> None:
    library = described()
    async with knowing(tmp_path, practice, library) as gateway:
        await gateway.authorize(CLIENT)
        answers = [await gateway.authorize(f"https://c{at}.example.com/c") for at in range(20)]
        assert [answer.status_code for answer in answers] == [400] * 4 + [429] * 16
        # Whoever is known already is not kept out.
        assert (await gateway.authorize(CLIENT)).status_code == 200
        gateway.clock.now += 1
        assert (await gateway.authorize("https://c.example.com/c")).status_code == 400


@pytest.mark.parametrize("cimd", [None, {}, {"enabled": False}, {"cache_size": 9}])
async def test_without_enabled_an_address_is_an_unknown_client_and_the_page_names_the_setting(
    tmp_path: Path, practice: str, cimd: dict[str, Any] | None
) -> None:
    library, values = described(), settings(tmp_path, upstream=practice)
    values["auth"]["cimd"] = cimd
    async with site(configured(tmp_path, values), fetch=library) as gateway:
        page = await gateway.authorize(CLIENT)
        assert page.status_code == 400
        assert "<code>cimd: {enabled: true}</code>" in page.text
        metadata = (await gateway.http.get("/.well-known/oauth-authorization-server")).json()
        assert metadata["client_id_metadata_document_supported"] is False
    assert library.fetched == []


async def test_a_document_on_this_computer_is_fetched_only_when_that_is_allowed(
    tmp_path: Path, practice: str
) -> None:
    fetched = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal fetched
        fetched += 1
        return web.json_response(document(str(request.url)))

    values = settings(tmp_path, upstream=practice)
    async with documents_at(answer) as port:
        url = f"http://localhost:{port}/client.json"
        values["auth"]["cimd"] = {"enabled": True}
        async with site(configured(tmp_path, values)) as gateway:
            assert (await gateway.authorize(url)).status_code == 400
        assert fetched == 0
        values["auth"]["cimd"] = {"enabled": True, "allow_loopback": True}
        async with site(configured(tmp_path, values)) as gateway:
            person = await signed_in(gateway, url)
            assert (await gateway.call(person.bearer)).status_code == 200
            assert (await gateway.authorize("http://192.168.0.1/client.json")).status_code == 400
    assert fetched == 1


async def test_a_page_about_a_document_that_cannot_be_fetched_names_the_remedy(
    tmp_path: Path, practice: str
) -> None:
    async with knowing(tmp_path, practice, Library()) as gateway:
        page = await gateway.authorize(CLIENT)
    assert page.status_code == 400
    assert "The document cannot be fetched." in page.text
    assert "<code>cimd: {enabled: false}</code>" in page.text


async def test_a_described_client_gets_the_baseline_and_offline_access_for_its_refresh_grant(
    tmp_path: Path, practice: str
) -> None:
    values = settings(tmp_path, upstream=practice)
    values["auth"] |= {"cimd": {"enabled": True}, "baseline_scopes": ["email"]}
    async with site(configured(tmp_path, values), fetch=described(scope="openid")) as gateway:
        page = await gateway.authorize(CLIENT, scope="openid email offline_access")
        assert page.status_code == 200
        refused = await gateway.authorize(CLIENT, scope="openid profile")
        assert query_of(refused)["error"] == "invalid_scope"


def test_a_gateway_that_is_not_on_loopback_may_not_fetch_from_it(tmp_path: Path) -> None:
    values = settings(tmp_path)
    auth = values["auth"]
    auth |= {"issuer": "https://gateway.example.com", "cimd": {"allow_loopback": True}}
    auth |= {"audience": "https://gateway.example.com/", "resource_url": "https://gateway.example.com/"}
    auth["upstream"]["redirect_uri"] = "https://gateway.example.com/oauth/callback"
    with pytest.raises(UsageError, match=r"cimd\.allow_loopback"):
        configured(tmp_path, values)


@pytest.mark.parametrize(
    "block",
    [{"enabled": "yes"}, {"cache_seconds": 1}, {"cache_size": 0}, {"ttl": 5}, {"allow_loopback": 1}, 7],
)
def test_a_wrong_setting_is_refused(tmp_path: Path, block: object) -> None:
    values = settings(tmp_path)
    values["auth"]["cimd"] = block
    with pytest.raises(UsageError, match=r"auth\.cimd"):
        configured(tmp_path, values)


DATE = "Sat, 21 Nov 2026 04:00:00 GMT"
HEADERS = [
    ({}, 300),
    ({"Cache-Control": "max-age=600"}, 600),
    ({"cache-control": 'public, MAX-AGE="600"', "age": "100"}, 500),
    ({"Cache-Control": "max-age=600, no-store"}, 10),
    ({"Cache-Control": "no-cache"}, 10),
    ({"Cache-Control": "max-age=0"}, 10),
    ({"Cache-Control": "max-age=999999999"}, 86400),
    ({"Cache-Control": "max-age=99999999999"}, 10),
    ({"Cache-Control": "max-age=-5"}, 10),
    ({"Cache-Control": "max-age=600", "Age": "many"}, 600),
    ({"Date": DATE, "Expires": "Sat, 21 Nov 2026 04:15:00 GMT"}, 900),
    ({"Date": DATE, "Expires": "0"}, 10),
    ({"Expires": DATE}, 10),
    ({"Date": DATE, "Expires": "Sat, 21 Nov 2026 04:15:00"}, 10),
    ({"Cache-Control": "max-age=60", "Date": DATE, "Expires": "Sat, 21 Nov 2026 05:00:00 GMT"}, 60),
]


@pytest.mark.parametrize(("headers", "seconds"), HEADERS, ids=range(len(HEADERS)))
def test_http_s_rules_say_how_long_within_ten_seconds_and_a_day(
    headers: dict[str, str], seconds: float
) -> None:
    assert fresh_seconds(headers, default=300) == seconds
