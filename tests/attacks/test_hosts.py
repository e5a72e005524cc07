"""Attacks by way of a browser: Origin, Host, preflight, other paths (checklist T90, T91, T101 to T103)."""

import pytest

from tests.servers.gateway.harness import ISSUER, RESOURCE, SignedIn, Site


@pytest.fixture
async def signed_in(gateway: Site) -> SignedIn:
    return await gateway.sign_in()


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.test",
        "null",
        "http://localhost:8081",
        "http://127.0.0.1:8080",
        "http://localhost",
        "https://localhost:8080",
        "http://localhost:8080.evil.test",
    ],
)
@pytest.mark.parametrize(
    "path", ["/mcp", "/oauth/token", "/oauth/authorize", "/health", "/.well-known/jwks.json"]
)
async def test_t90_a_foreign_origin_is_refused_before_anything_else(
    gateway: Site, origin: str, path: str
) -> None:
    answer = await gateway.http.post(path, headers={"Origin": origin})
    assert answer.status_code == 403
    assert "www-authenticate" not in answer.headers


async def test_t90_our_own_origin_is_welcome(gateway: Site, signed_in: SignedIn) -> None:
    assert (await gateway.call({**signed_in.bearer, "Origin": ISSUER})).status_code == 200


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


@pytest.mark.parametrize("path", ["/other", "/mcp/other", "/mcp/", "/../mcp"])
async def test_t101_metadata_of_a_path_we_do_not_serve_is_not_found(gateway: Site, path: str) -> None:
    answer = await gateway.http.get(f"/.well-known/oauth-protected-resource{path}")
    assert (answer.status_code, answer.json()) == (404, {"error": "not_found"})


async def test_t103_health_says_nothing_but_that_it_is_well(gateway: Site) -> None:
    await gateway.sign_in()
    for host in ("localhost:8080", "127.0.0.1:8080", "[::1]:8080"):
        answer = await gateway.http.get("/health", headers={"Host": host})
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert (await gateway.http.get("/metrics")).status_code == 401
