"""Logins on disk: for their owner only, one file each, damage is survived; discovery documents are cached."""

import stat
import time
from pathlib import Path

import httpx2
import pytest
from mcp.shared.auth import OAuthClientInformationFull, OAuthMetadata, OAuthToken

from workshop.agent.events import Event, Warned
from workshop.agent.token_store import Documents, Login, TokenStore
from workshop.core.errors import WorkshopError

RESOURCE = "http://localhost:8080/mcp"


def _login(issuer: str = "http://localhost:8080", resource: str = RESOURCE, saved_at: float = 1) -> Login:
    metadata = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
    }
    return Login(
        resource=resource,
        issuer=issuer,
        saved_at=saved_at,
        client=OAuthClientInformationFull(client_id="a-client"),
        authorization_server=OAuthMetadata.model_validate(metadata),
        tokens=OAuthToken(access_token="practice_access", refresh_token="practice_refresh"),
        expires_at=1234.5,
    )


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def store(tmp_path: Path, events: list[Event]) -> TokenStore:
    return TokenStore(tmp_path / "logins", events.append)


def test_a_saved_login_is_found_again_whole(store: TokenStore) -> None:
    store.save(_login())
    assert store.find(RESOURCE) == _login()


def test_t113_each_issuer_and_resource_has_a_private_file_whose_name_tells_neither(store: TokenStore) -> None:
    first = store.path("https://a.example", RESOURCE)
    assert first != store.path("https://b.example", RESOURCE)
    assert first != store.path("https://a.example", "https://c.example/mcp")
    assert "example" not in first.name
    store.save(_login("https://a.example"))
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert stat.S_IMODE(first.parent.stat().st_mode) == 0o700


def test_a_login_is_not_used_for_another_server(store: TokenStore) -> None:
    store.save(_login())
    assert store.find("http://localhost:9090/mcp") is None


def test_after_a_change_of_issuer_the_latest_login_counts(store: TokenStore) -> None:
    store.save(_login("https://old.example", saved_at=1))
    store.save(_login("https://new.example", saved_at=2))
    found = store.find(RESOURCE)
    assert found
    assert found.issuer == "https://new.example"


def test_forgetting_removes_the_logins_of_that_server_only(store: TokenStore) -> None:
    store.save(_login())
    store.save(_login(resource="http://localhost:9090/mcp"))
    store.forget(RESOURCE)
    assert store.find(RESOURCE) is None
    assert store.find("http://localhost:9090/mcp")


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"version": 1}', b"\xff\xfe"])
def test_a_damaged_file_counts_as_absent_with_a_warning(
    store: TokenStore, events: list[Event], text: bytes
) -> None:
    path = store.path("http://localhost:8080", RESOURCE)
    path.parent.mkdir()
    path.write_bytes(text)
    assert store.find(RESOURCE) is None
    (event,) = events
    assert isinstance(event, Warned)
    assert str(path) in event.text
    store.save(_login())
    assert store.find(RESOURCE) == _login()


def test_a_disk_that_refuses_is_reported(tmp_path: Path) -> None:
    (tmp_path / "logins").write_text("a file where a folder belongs")
    with pytest.raises(WorkshopError, match="Cannot store the login"):
        TokenStore(tmp_path / "logins").save(_login())


def test_a_printed_login_shows_no_token() -> None:
    assert "practice_" not in repr(_login())


async def test_one_at_a_time_holds_the_lock(store: TokenStore) -> None:
    async with store.lock():
        pass
    async with store.lock():
        store.save(_login())


URL = "http://localhost:8080/.well-known/oauth-authorization-server"


def answered(
    cache_control: str, *, method: str = "GET", url: str = URL, status: int = 200
) -> httpx2.Response:
    request = httpx2.Request(method, url)
    return httpx2.Response(status, headers={"cache-control": cache_control}, text='{"a":1}', request=request)


def after(response: httpx2.Response) -> httpx2.Response | None:
    kept = Documents()
    kept.keep(response)
    return kept.answer(response.request)


def test_a_document_stands_for_the_next_answer() -> None:
    again = after(answered("public, max-age=3600"))
    assert again is not None
    assert again.json() == {"a": 1}


@pytest.mark.parametrize("cache_control", ["", "public", "max-age=0", "no-store, max-age=60", "no-cache"])
def test_what_its_server_does_not_let_be_kept_is_asked_again(cache_control: str) -> None:
    assert after(answered(cache_control)) is None


def test_only_discovery_is_kept_and_only_when_it_succeeded() -> None:
    assert after(answered("max-age=60", url="http://localhost:8080/oauth/authorize")) is None
    assert after(answered("max-age=60", method="POST")) is None
    assert after(answered("max-age=60", status=404)) is None


def test_another_address_is_another_document() -> None:
    kept = Documents()
    kept.keep(answered("max-age=60"))
    assert kept.answer(httpx2.Request("GET", f"{URL}/mcp")) is None


def test_after_ten_minutes_it_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Documents()
    kept.keep(answered("max-age=3600"))
    now = time.time()
    monkeypatch.setattr("workshop.agent.token_store.time.time", lambda: now + 599)
    assert kept.answer(httpx2.Request("GET", URL)) is not None
    monkeypatch.setattr("workshop.agent.token_store.time.time", lambda: now + 601)
    assert kept.answer(httpx2.Request("GET", URL)) is None
