"""Discovery documents: kept as long as their server says, ten minutes at most, and nothing else is."""

import time

import httpx2
import pytest

from workshop.agent.token_store import Documents

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
