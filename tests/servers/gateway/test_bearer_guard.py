"""The guard of a protected resource: who gets in, what the app sees, and how the others are refused."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.servers.gateway.harness import NO_TLS
from tests.servers.gateway.outside import AUDIENCE, ISSUER, Issuer
from tests.servers.gateway.reading import challenge_of
from workshop.auth.guards import BearerGuard, caller_of
from workshop.auth.outside_tokens import OutsideIssuer, OutsideTokens
from workshop.core.errors import UsageError
from workshop.core.ports import free_port

HOME = "http://localhost:8121"
PRM = "/.well-known/oauth-protected-resource"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells what it sees."""
    seen = {"caller": caller_of(scope).subject, "headers": dict(Request(scope).headers)}
    await JSONResponse(seen)(scope, receive, send)


def guarded(issuer: Issuer, **options: Any) -> ASGIApp:
    scopes = options.pop("required_scopes", ())
    outside = OutsideIssuer(ISSUER, AUDIENCE, public_key=issuer.public_pem(), required_scopes=scopes)
    return BearerGuard(app, OutsideTokens(outside, issuer.clock), AUDIENCE, **options)


@asynccontextmanager
async def client(served: ASGIApp) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=served)
    async with httpx2.AsyncClient(transport=transport, base_url=HOME, verify=NO_TLS) as http:
        yield http


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def http(issuer: Issuer) -> AsyncIterator[httpx2.AsyncClient]:
    async with client(guarded(issuer)) as client_:
        yield client_


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_the_app_learns_who_calls_and_never_sees_the_token(
    http: httpx2.AsyncClient, issuer: Issuer
) -> None:
    answer = await http.post("/mcp", headers={**bearer(issuer.token()), "X-Other": "stays"})
    assert answer.status_code == 200
    assert answer.json()["caller"] == "user-1"
    assert answer.json()["headers"]["x-other"] == "stays"
    assert "authorization" not in answer.json()["headers"]


async def test_metadata_and_health_are_public(http: httpx2.AsyncClient) -> None:
    for path in (PRM, f"{PRM}/mcp"):
        answer = await http.get(path)
        assert answer.json() == {
            "resource": AUDIENCE,
            "authorization_servers": [ISSUER],
            "bearer_methods_supported": ["header"],
        }
    assert (await http.get("/health")).status_code == 200
    assert (await http.get("/health", headers={"host": "127.0.0.1:8121"})).status_code == 200
    assert (await http.post("/health")).status_code == 405
    assert (await http.get("/.well-known/oauth-authorization-server")).status_code == 404


async def test_without_a_token_the_challenge_has_no_error(http: httpx2.AsyncClient) -> None:
    for headers in ({}, {"Authorization": "Basic bGVhcm5lcjo="}):
        for path in ("/mcp", "/", "/health/deep", "/mcp/.well-known/x"):
            answer = await http.post(path, headers=headers)
            assert answer.status_code == 401
            assert "error" not in challenge_of(answer)
    answer = await http.post("/mcp")
    assert challenge_of(answer) == {"realm": AUDIENCE, "resource_metadata": f"{HOME}{PRM}/mcp"}
    assert answer.json()["error"] == "unauthorized"


async def test_a_bad_token_is_named_as_such(http: httpx2.AsyncClient, issuer: Issuer) -> None:
    for token in ("garbage", issuer.token(aud="other"), Issuer(clock=issuer.clock).token()):
        answer = await http.post("/mcp", headers=bearer(token))
        assert answer.status_code == 401
        assert challenge_of(answer)["error"] == "invalid_token"


async def test_every_request_is_asked_again(http: httpx2.AsyncClient, issuer: Issuer) -> None:
    headers = bearer(issuer.token())
    assert (await http.post("/mcp", headers=headers)).status_code == 200
    issuer.clock.now += 300
    assert (await http.post("/mcp", headers=headers)).status_code == 401


async def test_malformed_requests_are_400(http: httpx2.AsyncClient, issuer: Issuer) -> None:
    token = issuer.token()
    twice = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")]
    answers = [
        await http.post("/mcp", params={"access_token": token}),
        await http.post("/mcp", params={"access_token": token}, headers=bearer(token)),
        await http.post("/mcp?" + "x" * 9000, headers=bearer(token)),
        await http.post("/mcp", headers=twice),
        await http.post("/mcp", headers={"Authorization": "Bearer "}),
    ]
    assert [answer.status_code for answer in answers] == [400] * 5
    assert {challenge_of(answer)["error"] for answer in answers} == {"invalid_request"}


async def test_a_missing_scope_is_403_and_reports_which_are_needed(issuer: Issuer) -> None:
    async with client(guarded(issuer, required_scopes=("notes:read", "profile"))) as http:
        answer = await http.post("/mcp", headers=bearer(issuer.token()))
        assert answer.status_code == 403
        told = challenge_of(answer)
        assert (told["error"], told["scope"]) == ("insufficient_scope", "notes:read profile")
        assert (await http.get(PRM)).json()["scopes_supported"] == ["notes:read", "profile"]
        enough = issuer.token(scope="profile openid notes:read")
        assert (await http.post("/mcp", headers=bearer(enough))).status_code == 200


async def test_without_the_issuer_s_keys_it_is_503(issuer: Issuer) -> None:
    outside = OutsideIssuer(ISSUER, AUDIENCE, jwks_uri=f"http://127.0.0.1:{free_port()}/jwks")
    async with client(BearerGuard(app, OutsideTokens(outside, issuer.clock), AUDIENCE)) as http:
        answer = await http.post("/mcp", headers=bearer(issuer.token()))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "www-authenticate" not in answer.headers
        assert (await http.post("/mcp")).status_code == 401


async def test_the_words_of_a_refusal_can_be_given(issuer: Issuer) -> None:
    words: Mapping[int, Mapping[str, str]] = {401: {"error": "Unauthorized", "message": "Who are you?"}}
    async with client(guarded(issuer, refusals=words)) as http:
        answer = await http.post("/mcp", headers=bearer("garbage"))
        assert answer.json() == words[401]
        assert challenge_of(answer)["error"] == "invalid_token"
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "rebound.example"}, 421),
        ({"host": "127.0.0.1:8121"}, 421),
        ({"origin": "https://other.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": HOME}, 200),
        ({"origin": "http://localhost:6274"}, 200),
        ({"origin": "http://localhost.evil"}, 403),
    ],
    ids=str,
)
async def test_web_pages_do_not_get_in(
    headers: dict[str, str], status: int, http: httpx2.AsyncClient, issuer: Issuer
) -> None:
    answer = await http.post("/mcp", headers={**bearer(issuer.token()), **headers})
    assert answer.status_code == status
    shared = headers.get("origin") == "http://localhost:6274"
    assert ("access-control-allow-origin" in answer.headers) == shared


async def test_nothing_but_http_is_served(issuer: Issuer) -> None:
    async def never(*_: object) -> Any:
        raise AssertionError("nothing is received or sent")

    with pytest.raises(RuntimeError, match="only HTTP"):
        await guarded(issuer)({"type": "websocket", "path": "/mcp", "headers": []}, never, never)


def test_outside_of_a_guard_there_is_no_caller() -> None:
    with pytest.raises(LookupError):
        caller_of({"type": "http"})


@pytest.mark.parametrize("resource", ["/mcp", "ftp://localhost/mcp", 'http://localhost:1/"'])
def test_a_resource_is_an_absolute_url(resource: str, issuer: Issuer) -> None:
    tokens = OutsideTokens(OutsideIssuer(ISSUER, AUDIENCE, public_key=issuer.public_pem()))
    with pytest.raises(UsageError):
        BearerGuard(app, tokens, resource)
