"""Attacks by way of a browser: Origin, Host, preflight, other paths (checklist T90, T91, T101 to T103)."""

from itertools import product
from pathlib import Path

import pytest

from tests.servers.gateway.harness import ISSUER, RESOURCE, SignedIn, Site, configured, settings, site


@pytest.fixture
async def signed_in(gateway: Site) -> SignedIn:
    return await gateway.sign_in()


FOREIGN = [
    "https://evil.test",
    "null",
    "https://localhost:8080",
    "http://localhost:8080.evil.test",
    "http://localhost.evil",
    "http://localhost@evil.test",
    "http://127.0.0.1.evil.test",
    "http://localhost:8081/",
    "http://localhost:",
]
LOOPBACK = ["http://localhost:8081", "http://127.0.0.1:8080", "http://localhost", "http://[::1]:6274"]
READABLE = ["/mcp", "/oauth/register", "/oauth/token", "/.well-known/jwks.json"]
OTHER = ["/oauth/authorize", "/oauth/consent", "/oauth/callback", "/oauth/revoke", "/health", "/mcp/", "/"]


@pytest.mark.parametrize(
    ("origin", "path"),
    [*product(FOREIGN, READABLE + OTHER), *product(LOOPBACK, OTHER)],
)
async def test_t90_a_foreign_origin_is_refused_before_anything_else(
    gateway: Site, origin: str, path: str
) -> None:
    answer = await gateway.http.post(path, headers={"Origin": origin})
    assert answer.status_code == 403
    assert "www-authenticate" not in answer.headers


async def test_t90_our_own_origin_is_welcome(gateway: Site, signed_in: SignedIn) -> None:
    assert (await gateway.call({**signed_in.bearer, "Origin": ISSUER})).status_code == 200


@pytest.mark.parametrize("origin", LOOPBACK)
async def test_t90_a_page_on_this_computer_may_read_the_endpoints_of_clients(
    gateway: Site, signed_in: SignedIn, origin: str
) -> None:
    for path in READABLE:
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        preflight = await gateway.http.options(path, headers={**asked, "Origin": origin})
        assert preflight.status_code == 200
        actual = await gateway.http.post(path, headers={"Origin": origin})
        assert actual.headers["access-control-expose-headers"] == "Mcp-Session-Id, WWW-Authenticate"
        for answer in (preflight, actual):
            assert answer.headers["access-control-allow-origin"] == origin
            assert "access-control-allow-credentials" not in answer.headers
            assert "origin" in answer.headers["vary"].lower()
        assert preflight.headers["access-control-allow-headers"] == "authorization"
        assert "POST" in preflight.headers["access-control-allow-methods"]
    assert (await gateway.call({**signed_in.bearer, "Origin": origin})).status_code == 200
    refused = await gateway.http.post("/mcp", headers={"Origin": origin})
    assert (refused.status_code, "www-authenticate" in refused.headers) == (401, True)


async def test_t90_two_origins_are_not_a_page_on_this_computer(gateway: Site) -> None:
    for pair in ((LOOPBACK[0], LOOPBACK[1]), (LOOPBACK[0], "https://evil.test")):
        headers = [("Origin", origin) for origin in pair]
        assert (await gateway.http.post("/mcp", headers=headers)).status_code == 403


async def test_t90_a_page_on_this_computer_does_not_change_which_host_is_asked(gateway: Site) -> None:
    headers = {"Origin": LOOPBACK[0], "Host": "evil.test"}
    assert (await gateway.http.post("/mcp", headers=headers)).status_code == 421


async def test_t90_without_tokens_no_other_page_reaches_the_tools(tmp_path: Path, practice: str) -> None:
    values = settings(tmp_path, upstream=practice)
    del values["auth"]
    async with site(configured(tmp_path, values)) as open_gateway:
        for origin in {*LOOPBACK} - {"http://127.0.0.1:8080"}:  # which is its own address too
            answer = await open_gateway.http.post("/mcp", headers={"Origin": origin}, json={})
            assert (answer.status_code, "access-control-allow-origin" in answer.headers) == (403, False)


HOSTS = [
    "evil.test",
    "evil.test:8080",
    "localhost",
    "localhost:8081",
    "127.0.0.1:8080",
    "localhost:8080.evil.test",
    "localhost:8080@evil.test",
    "",
    "[::1]:8080",
    "169.254.169.254",
]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", ["/mcp", "/.well-known/oauth-protected-resource", "/oauth/authorize"])
async def test_t90_t102_a_host_that_is_not_the_issuer_s_is_refused(
    gateway: Site, host: str, path: str
) -> None:
    answer = await gateway.http.get(path, headers={"Host": host})
    assert answer.status_code == 421


async def test_t90_a_forwarded_host_changes_nothing(gateway: Site) -> None:
    headers = {"X-Forwarded-Host": "evil.test", "X-Forwarded-Proto": "https", "Forwarded": "host=evil.test"}
    answer = await gateway.http.get("/.well-known/oauth-protected-resource", headers=headers)
    assert answer.json()["resource"] == RESOURCE


async def test_t102_the_host_is_read_in_any_case(gateway: Site) -> None:
    answer = await gateway.http.get(
        "/.well-known/oauth-protected-resource", headers={"Host": "LOCALHOST:8080"}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "path", ["/mcp", "/oauth/token", "/oauth/register", "/.well-known/oauth-authorization-server"]
)
async def test_t91_a_preflight_from_a_foreign_page_allows_nothing(gateway: Site, path: str) -> None:
    headers = {"Origin": "https://evil.test", "Access-Control-Request-Method": "POST"}
    for sent in (headers, {**headers, "Origin": ISSUER}):
        answer = await gateway.http.options(path, headers=sent)
        assert answer.status_code in {403, 405}
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/other", "/mcp/other", "/mcp//", "/MCP", "//mcp", "/../mcp"])
async def test_t101_metadata_of_a_path_we_do_not_serve_is_not_found(gateway: Site, path: str) -> None:
    answer = await gateway.http.get(f"/.well-known/oauth-protected-resource{path}")
    assert (answer.status_code, answer.json()) == (404, {"error": "not_found"})


async def test_t103_health_says_nothing_but_that_it_is_well(gateway: Site) -> None:
    await gateway.sign_in()
    for host in ("localhost:8080", "127.0.0.1:8080", "[::1]:8080"):
        answer = await gateway.http.get("/health", headers={"Host": host})
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert (await gateway.http.get("/metrics")).status_code == 401
