"""Attacks on dynamic client registration (checklist T65 to T73)."""

from pathlib import Path
from typing import Any

import pytest

from tests.servers.gateway.harness import CALLBACK, Site, configured, settings, site
from tests.servers.gateway.reading import query_of
from workshop.core.errors import UsageError
from workshop.servers.gateway.config import GatewayConfig


async def refused(gateway: Site, **metadata: Any) -> str:
    answer = await gateway.register_response(**metadata)
    assert answer.status_code == 400, answer.text
    return str(answer.json()["error"])


@pytest.mark.parametrize(
    "uris",
    [
        None,
        [],
        [f"https://client.test/{n}" for n in range(11)],
        [7],
        [None],
        [{}],
        "https://client.test/",
        {},
        [""],
    ],
)
async def test_t65_a_wrong_number_or_kind_of_redirect_uris_is_refused(gateway: Site, uris: Any) -> None:
    assert await refused(gateway, redirect_uris=uris) == "invalid_redirect_uri"


async def test_t65_a_two_megabyte_redirect_uri_is_refused(gateway: Site) -> None:
    answer = await gateway.register_response(redirect_uris=["https://client.test/" + "a" * 2_000_000])
    assert answer.status_code == 413
    assert (
        await refused(gateway, redirect_uris=["https://client.test/" + "a" * 3000]) == "invalid_redirect_uri"
    )


@pytest.mark.parametrize(
    "uri",
    [
        "http://evil.test/cb",
        "http://localhost.evil.test/cb",
        "http://127.0.0.2/cb",
        "http://0.0.0.0/cb",
        "http://169.254.169.254/cb",
        "http://localhost@evil.test/cb",
        "HTTP://evil.test/cb",
    ],
)
async def test_t66_plain_http_beyond_loopback_is_refused(gateway: Site, uri: str) -> None:
    assert await refused(gateway, redirect_uris=[uri]) == "invalid_redirect_uri"


@pytest.mark.parametrize(
    "uri",
    [
        "https://client.test/cb#fragment",
        "https://client.test/cb#",
        "https://user@client.test/cb",
        "https://user:pass@client.test/cb",
        "https://*.client.test/cb",
        "https://client.test/*",
        "https://client.test/a/../cb",
        "https://client.test/%2E%2e/cb",
        "https://client.test/c b",
        "https://client.test/cb\r\nX: y",
        "https://client.test\\@evil.test/cb",
        "https://clïent.test/cb",
        "https:///cb",
        "https:client.test/cb",
        "//client.test/cb",
        "/cb",
    ],
)
async def test_t67_an_unclear_redirect_uri_is_refused(gateway: Site, uri: str) -> None:
    assert await refused(gateway, redirect_uris=[CALLBACK, uri]) == "invalid_redirect_uri"


@pytest.mark.parametrize(
    "metadata",
    [
        {"grant_types": ["implicit"]},
        {"grant_types": ["authorization_code", "client_credentials"]},
        {"grant_types": ["refresh_token"]},
        {"grant_types": "authorization_code"},
        {"grant_types": ["authorization_code", 7]},
        {"response_types": ["token"]},
        {"response_types": ["code", "id_token"]},
        {"token_endpoint_auth_method": "client_secret_basic"},
        {"token_endpoint_auth_method": "client_secret_post"},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"scope": "openid admin"},
        {"scope": 7},
        {"application_type": "service"},
        {"application_type": ["native"]},
        {"client_name": 7},
        {"client_name": "x" * 257},
    ],
)
async def test_t68_metadata_beyond_a_public_code_client_is_refused(
    gateway: Site, metadata: dict[str, Any]
) -> None:
    assert await refused(gateway, **metadata) == "invalid_client_metadata"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_t69_another_media_type_is_refused(gateway: Site, kind: str) -> None:
    body = b'{"redirect_uris": ["http://localhost:8765/callback"]}'
    answer = await gateway.http.post("/oauth/register", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 415


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b"null", b"[" * 60_000, b"\xff", b'{"a":' * 10_000]
)
async def test_t70_a_body_that_is_no_json_object_is_refused(gateway: Site, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await gateway.http.post("/oauth/register", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")


async def test_t71_the_sixth_registration_at_once_waits_a_second(gateway: Site) -> None:
    document = {"redirect_uris": [CALLBACK]}
    answers = [await gateway.http.post("/oauth/register", json=document) for _ in range(50)]
    assert [answer.status_code for answer in answers] == [201] * 5 + [429] * 45
    assert answers[-1].headers["retry-after"] == "1"
    gateway.clock.now += 1
    assert (await gateway.http.post("/oauth/register", json=document)).status_code == 201


def limited(folder: Path, **registrations: int) -> GatewayConfig:
    values = settings(folder)
    values["auth"]["registrations"] = registrations
    return configured(folder, values)


async def test_t71_the_manifest_sets_how_many_register_at_once_and_how_soon_again(tmp_path: Path) -> None:
    async with site(limited(tmp_path, max_tokens=7, refill_seconds=70)) as gateway:
        document = {"redirect_uris": [CALLBACK]}
        answers = [await gateway.http.post("/oauth/register", json=document) for _ in range(9)]
        assert [answer.status_code for answer in answers] == [201] * 7 + [429] * 2
        assert answers[-1].headers["retry-after"] == "10"
        gateway.clock.now += 10
        assert (await gateway.http.post("/oauth/register", json=document)).status_code == 201


async def test_t71_at_the_bound_nobody_else_registers_and_nobody_is_put_out(tmp_path: Path) -> None:
    async with site(limited(tmp_path, max_clients=2)) as gateway:
        first, second = await gateway.register(), await gateway.register()
        refused = await gateway.register_response()
        assert refused.status_code == 503
        assert 86_390 < int(refused.headers["retry-after"]) <= 86_400
        for client_id in (first, second):
            assert (await gateway.authorize(client_id)).status_code == 200
        gateway.clock.now += 24 * 3600
        assert (await gateway.authorize(first)).status_code == 400, "nobody used it for a day"
        await gateway.register()


async def test_t71_a_client_that_signs_in_is_kept_for_thirty_days_from_its_last_token(gateway: Site) -> None:
    person = await gateway.sign_in()
    for _ in range(3):
        gateway.clock.now += 6 * 24 * 3600
        answer = await gateway.refresh(person.client_id, person.refresh_token)
        assert answer.status_code == 200, answer.text
        person.answer = answer.json()
    gateway.clock.now += 29 * 24 * 3600
    assert (await gateway.authorize(person.client_id)).status_code == 200
    gateway.clock.now += 24 * 3600
    gone = await gateway.refresh(person.client_id, person.refresh_token)
    assert (gone.status_code, gone.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Trail\u202e\u2066 notes", "Trail notes"),
        ("a\x00b\x1b[31m\r\n\tc", "ab[31m c"),
        ("\u200b\u200d\ufeff", None),
        ("  spaced   out  ", "spaced out"),
        ("naïve 名前", "naïve 名前"),
    ],
)
async def test_t72_a_client_name_is_shown_without_characters_that_deceive(
    gateway: Site, name: str, shown: str | None
) -> None:
    answer = await gateway.register_response(client_name=name)
    assert answer.json().get("client_name") == shown
    page = await gateway.authorize(answer.json()["client_id"])
    assert (shown or "An application without a name") in page.text


async def test_t73_addresses_in_the_metadata_are_neither_fetched_nor_kept(gateway: Site) -> None:
    host, names = "169.254.169.254", ("jwks_uri", "logo_uri", "policy_uri", "tos_uri", "client_uri")
    answer = await gateway.register_response(**dict.fromkeys(names, f"http://{host}/latest"))
    assert answer.status_code == 201
    assert host not in answer.text
    assert host not in (await gateway.authorize(answer.json()["client_id"])).text


async def test_a12_a_web_application_may_not_come_back_to_loopback(gateway: Site) -> None:
    assert await refused(gateway, application_type="web") == "invalid_redirect_uri"
    assert (await gateway.register_response(application_type="native")).status_code == 201
    web = await gateway.register_response(application_type="web", redirect_uris=["https://client.test/cb"])
    assert web.json()["application_type"] == "web"


async def test_a_registration_answers_what_was_registered(gateway: Site) -> None:
    answer = await gateway.register_response(client_name="Trail notes", scope="openid email")
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body.pop("client_id")
    assert body == {
        "client_id_issued_at": int(gateway.clock.now),
        "client_name": "Trail notes",
        "redirect_uris": [CALLBACK],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "scope": "openid email offline_access",
    }


async def test_a_client_that_registers_the_refresh_grant_may_ask_for_offline_access(gateway: Site) -> None:
    """As Claude Code: it registers the resource's scopes, and asks for what the server announces."""
    registered = await gateway.register_response(
        scope="openid profile email", grant_types=["authorization_code", "refresh_token"]
    )
    assert registered.json()["scope"] == "openid profile email offline_access"
    page = await gateway.authorize(registered.json()["client_id"])
    assert "stay signed in without asking you again" in page.text


async def test_a_client_without_the_refresh_grant_gets_no_offline_access_beyond_what_it_registered(
    gateway: Site,
) -> None:
    client_id = await gateway.register(scope="openid", grant_types=["authorization_code"])
    refused = await gateway.authorize(client_id, scope="openid offline_access")
    assert query_of(refused)["error"] == "invalid_scope"


async def test_offline_access_is_not_added_where_the_server_does_not_support_it(tmp_path: Path) -> None:
    values = settings(tmp_path)
    values["auth"]["scopes"] = ["openid", "profile"]
    async with site(configured(tmp_path, values)) as gateway:
        registered = await gateway.register_response(scope="openid")
    assert registered.json()["scope"] == "openid"


async def test_every_client_gets_the_baseline_scopes_and_no_other(tmp_path: Path) -> None:
    values = settings(tmp_path)
    values["auth"]["baseline_scopes"] = ["email"]
    async with site(configured(tmp_path, values)) as gateway:
        registered = await gateway.register_response(scope="openid", grant_types=["authorization_code"])
        assert registered.json()["scope"] == "openid email"
        client_id = str(registered.json()["client_id"])
        assert (await gateway.authorize(client_id, scope="openid email")).status_code == 200
        refused = await gateway.authorize(client_id, scope="openid profile")
        assert query_of(refused)["error"] == "invalid_scope"


def test_a_baseline_scope_must_be_one_of_the_server(tmp_path: Path) -> None:
    values = settings(tmp_path)
    values["auth"]["baseline_scopes"] = ["admin"]
    with pytest.raises(UsageError, match=r"auth\.baseline_scopes"):
        configured(tmp_path, values)
