"""Redirect URIs with a scheme of the application's own, and what no redirect URI may have (T7, T66, T67)."""

from pathlib import Path
from typing import Any

import pytest

from tests.servers.gateway.harness import CALLBACK, Site, configured, settings, site
from tests.servers.gateway.reading import query_of
from workshop.core.errors import UsageError

CURSOR = "cursor://anysphere.cursor-mcp/oauth/callback"
OF_CURSOR = [CURSOR, "https://www.cursor.com/agents/mcp/oauth/callback", "http://localhost:8787/callback"]
OWN = [CURSOR, "cursor://callback", "myapp:/cb", "com.example.app:/oauth2redirect/provider", "vscode:///back"]


async def refusal(gateway: Site, *uris: str, **metadata: Any) -> str:
    answer = await gateway.register_response(redirect_uris=[*uris], **metadata)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_redirect_uri"), answer.text
    return str(answer.json()["error_description"])


async def test_cursor_registers_its_three_redirect_uris_and_signs_in_with_its_own_scheme(
    gateway: Site,
) -> None:
    answer = await gateway.register_response(client_name="Cursor", redirect_uris=OF_CURSOR)
    assert answer.json()["redirect_uris"] == OF_CURSOR
    client_id = str(answer.json()["client_id"])
    arrived = await gateway.code(client_id, redirect_uri=CURSOR)
    redeemed = await gateway.redeem(client_id, arrived["code"], redirect_uri=CURSOR)
    assert redeemed.status_code == 200, redeemed.text


@pytest.mark.parametrize("uri", OWN)
async def test_a_scheme_of_the_application_s_own_is_shown_with_its_danger(gateway: Site, uri: str) -> None:
    client_id = await gateway.register(redirect_uris=[uri])
    page = await gateway.authorize(client_id, redirect_uri=uri)
    assert page.status_code == 200
    assert f"<code>{uri.partition(':')[0]}:</code>. Any program on this computer may claim it" in page.text
    assert query_of(await gateway.decide(page, "deny"))["error"] == "access_denied"


@pytest.mark.parametrize(
    "scheme",
    [
        *("javascript", "data", "file", "vbscript", "blob", "about", "filesystem", "view-source", "content"),
        *("http", "ws", "ftp", "ssh", "smb", "intent", "itms-services", "shell", "search", "mailto", "tel"),
        *("web+app", "ext+app", "ms-msdt", "ms-appinstaller", "search-ms", "chrome-extension", "xmpp"),
        *("moz-extension", "JavaScript", "CURSOR", "c"),
    ],
)
@pytest.mark.parametrize("rest", ["://callback", ":/callback", ":callback", ":alert(1)"])
async def test_t7_a_scheme_that_has_a_meaning_already_is_refused(
    gateway: Site, scheme: str, rest: str
) -> None:
    assert "redirect_uris[1]" in await refusal(gateway, CALLBACK, scheme + rest)


@pytest.mark.parametrize(
    "uri",
    [
        *("cursor:callback", "cursor:", "cursor:/", "cursor://", "cursor:////x", "cursor://user@host/cb"),
        *("cursor://host/a/../cb", "cursor://host/%2e%2e/cb", "cursor://host/cb#", "cursor://h*st/cb"),
        *("cursor://host/c b", "cur sor://host/cb", "1cursor://host/cb", "+cursor://host/cb"),
        *("cürsor://host/cb", "cursor://host\\@evil.test/cb", "://host/cb", "https:/host/cb", "https:host"),
        "http:/localhost/cb",
    ],
)
async def test_t67_an_unclear_address_with_an_own_scheme_is_refused(gateway: Site, uri: str) -> None:
    await refusal(gateway, uri)


async def test_of_several_redirect_uris_the_error_names_the_wrong_one(gateway: Site) -> None:
    told = await refusal(gateway, *OF_CURSOR, 'javascript://"x"/%0aalert(1)')
    assert told.startswith("redirect_uris[3] (javascript://?x?/%0aalert(1)): ")
    told = await refusal(gateway, CURSOR, "javascript:/" + "x" * 500)
    assert told.startswith("redirect_uris[1] (javascript:/")
    assert len(told) < 300
    answer = await gateway.register_response(redirect_uris=[CURSOR, {"a": 1}])
    assert "redirect_uris[1] is not a text" in answer.json()["error_description"]


async def test_a_web_application_has_no_scheme_of_its_own(gateway: Site) -> None:
    await refusal(gateway, CURSOR, application_type="web")
    native = await gateway.register_response(redirect_uris=[CURSOR], application_type="native")
    assert native.status_code == 201


@pytest.mark.parametrize(
    "uri",
    [
        *(CURSOR.upper(), CURSOR + "/", CURSOR + "?x=1", "cursor://anysphere.cursor-mcp:1/oauth/callback"),
        *(CURSOR.replace("cursor:", "cursor2:", 1), "cursor:/anysphere.cursor-mcp/oauth/callback"),
    ],
)
async def test_t3_an_own_scheme_is_compared_as_text(gateway: Site, uri: str) -> None:
    """Only of loopback addresses the port may differ (RFC 8252 section 7.3)."""
    client_id = await gateway.register(redirect_uris=[CURSOR])
    answer = await gateway.authorize(client_id, redirect_uri=uri)
    assert (answer.status_code, "location" in answer.headers) == (400, False)


@pytest.mark.parametrize(
    "change", [{"code_challenge": None}, {"response_type": "token"}, {"prompt": "none"}, {"scope": "admin"}]
)
async def test_no_program_is_started_before_a_person_has_approved_it(
    gateway: Site, change: dict[str, str | None]
) -> None:
    """RFC 9700 section 4.11.2: the error is a page, because anybody can register any program's scheme."""
    client_id = await gateway.register(redirect_uris=[CURSOR])
    page = await gateway.authorize(client_id, redirect_uri=CURSOR, **change)
    assert (page.status_code, "location" in page.headers) == (400, False)


@pytest.mark.parametrize("name", ["code", "state", "iss", "error", "error_description", "error_uri"])
@pytest.mark.parametrize("query", ["{}=x", "a=b&{}", "{}=", "a=1&{}=2&b=3"])
@pytest.mark.parametrize("uri", ["https://client.test/cb", CALLBACK, CURSOR])
async def test_a_redirect_uri_has_no_parameter_that_the_answer_adds(
    gateway: Site, uri: str, query: str, name: str
) -> None:
    """A client that reads the first of two would take a code, state or issuer that an attacker chose."""
    told = await refusal(gateway, f"{uri}?{query.format(name)}")
    assert f"query has no {name}" in told


async def test_an_encoded_name_of_a_reserved_parameter_is_refused_and_another_name_is_not(
    gateway: Site,
) -> None:
    await refusal(gateway, "https://client.test/cb?%73tate=x")
    answer = await gateway.register_response(redirect_uris=["https://client.test/cb?tenant=x&status=y"])
    assert answer.status_code == 201


def test_the_provider_s_own_upstream_callback_is_unchanged(tmp_path: Path) -> None:
    """The gateway's own callback is still exactly the issuer's."""
    values = settings(tmp_path)
    values["auth"]["upstream"]["redirect_uri"] = CURSOR
    with pytest.raises(UsageError, match="redirect_uri"):
        configured(tmp_path, values)


async def test_a_gateway_keeps_an_own_scheme_over_a_restart(tmp_path: Path, practice: str) -> None:
    values = settings(tmp_path, upstream=practice)
    async with site(configured(tmp_path, values)) as gateway:
        client_id = await gateway.register(redirect_uris=[CURSOR])
    async with site(configured(tmp_path, values)) as gateway:
        assert (await gateway.authorize(client_id, redirect_uri=CURSOR)).status_code == 200
