"""The application as a whole: a sign-in, failures it did not foresee, health, addresses under https."""

import logging
from pathlib import Path

import httpx2
import pytest

from tests.servers.gateway.harness import PRACTICE_SECRET, Site, configured, settings, site
from workshop.auth.http import redirect
from workshop.auth.limits import TokenBucket
from workshop.auth.store import StoreUnavailableError
from workshop.auth.store_sqlite import SqliteStore


async def test_a_person_signs_in_and_the_client_reaches_the_remote_server(gateway: Site) -> None:
    signed_in = await gateway.sign_in()
    answer = await gateway.call(signed_in.bearer)
    assert answer.status_code == 200, answer.text
    assert "result" in answer.json()


async def test_a_store_that_is_gone_is_a_503_and_not_healthy(
    gateway: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_in = await gateway.sign_in()

    def gone(*_: object) -> None:
        raise StoreUnavailableError("SQLITE_IOERR")

    monkeypatch.setattr(SqliteStore, "_one", gone)
    for answer in (
        await gateway.http.get("/health"),
        await gateway.call(signed_in.bearer),
        await gateway.refresh(signed_in.client_id, signed_in.refresh_token),
    ):
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")


async def test_an_unforeseen_failure_is_a_plain_500_and_its_words_stay_out_of_the_log(
    gateway: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said = f"words with {PRACTICE_SECRET}"

    def broken(*_: object) -> None:
        raise ValueError(said)

    monkeypatch.setattr(SqliteStore, "client", broken)
    with caplog.at_level(logging.INFO):
        answer = await gateway.authorize("x")
    assert answer.status_code == 500
    assert said not in answer.text + caplog.text
    assert "ValueError" in caplog.text


@pytest.mark.parametrize("host", ["gateway.test", "gateway.test:443", "GATEWAY.test"])
async def test_behind_https_the_default_port_may_be_written_or_not(tmp_path: Path, host: str) -> None:
    values = settings(tmp_path)
    issuer = "https://gateway.test"
    values["auth"] |= {"issuer": issuer, "audience": f"{issuer}/mcp", "resource_url": f"{issuer}/mcp"}
    values["auth"]["upstream"]["redirect_uri"] = f"{issuer}/oauth/callback"
    async with site(configured(tmp_path, values)) as gateway:
        transport = httpx2.ASGITransport(app=gateway.app)
        async with httpx2.AsyncClient(transport=transport, base_url=issuer) as http:
            answer = await http.get("/.well-known/oauth-protected-resource/mcp", headers={"Host": host})
            assert answer.json()["resource"] == f"{issuer}/mcp"
            probe = await http.get("/health", headers={"Host": "127.0.0.1:8080"})
            assert probe.status_code == 200


async def test_no_websocket_is_opened(gateway: Site) -> None:
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/mcp", "headers": [], "query_string": b"", "root_path": ""}
    await gateway.app(scope, receive, send)  # type: ignore[arg-type] # plain dictionaries are messages
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    now = [0.0]
    bucket = TokenBucket(1.0, 2, lambda: now[0])
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    now[0] = 1.0
    assert [bucket.take() for _ in range(2)] == [True, False]
    now[0] = 0.0
    assert bucket.take() is False
    now[0] = 100.0
    assert [bucket.take() for _ in range(3)] == [True, True, False]


def test_parameters_are_added_to_an_address_that_has_some() -> None:
    response = redirect("https://client.test/cb?a=1", {"code": "x&y", "state": None})
    assert (response.status_code, response.headers["location"]) == (
        303,
        "https://client.test/cb?a=1&code=x%26y",
    )
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-store"
