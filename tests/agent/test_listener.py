"""The loopback listener: one login, one answer, and everything else is turned away."""

import asyncio
import re
from collections.abc import AsyncIterator

import httpx2
import pytest

from workshop.agent.listener import LoopbackListener
from workshop.core.errors import CredentialsError, WorkshopError
from workshop.core.ports import bind_loopback, free_port
from workshop.core.refusals import known_refusal

ISSUER = "http://localhost:8080"
GOOD = {"code": "the-code", "state": "right", "iss": ISSUER}


@pytest.fixture
async def listener() -> AsyncIterator[LoopbackListener]:
    async with LoopbackListener(free_port()) as listening:
        listening.expect("right", ISSUER, iss_required=True)
        yield listening


@pytest.fixture
async def browser() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient() as client:
        yield client


async def test_the_awaited_callback_gives_code_and_issuer(
    listener: LoopbackListener, browser: httpx2.AsyncClient
) -> None:
    page = await browser.get(listener.redirect_uri, params=GOOD)
    result = await listener.wait(60)
    assert (result.code, result.state, result.iss) == ("the-code", "right", ISSUER)
    assert page.status_code == 200
    assert "You can close this window" in page.text


async def test_the_page_repeats_nothing_and_cannot_be_cached_framed_or_scripted(
    listener: LoopbackListener, browser: httpx2.AsyncClient
) -> None:
    page = await browser.get(listener.redirect_uri, params=GOOD)
    assert "the-code" not in page.text
    assert "right" not in page.text
    assert page.headers["cache-control"] == "no-store"
    policy = page.headers["content-security-policy"]
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-\S+'; base-uri 'none'; frame-ancestors 'none'", policy
    )
    assert page.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
async def test_it_answers_on_both_loopback_addresses(
    listener: LoopbackListener, browser: httpx2.AsyncClient, host: str
) -> None:
    page = await browser.get(listener.redirect_uri.replace("localhost", host), params=GOOD)
    assert page.status_code == 200


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/favicon.ico", {}, 404),
        ("/", GOOD, 404),
        ("/callback/", GOOD, 404),
        ("/callback", {}, 400),
        ("/callback", {"code": "x", "iss": ISSUER}, 400),
        ("/callback", GOOD | {"state": "wrong"}, 400),
        ("/callback", GOOD | {"state": ["right", "right"]}, 400),
        ("/callback", {"error": "access_denied"}, 400),
    ],
)
async def test_t108_stray_requests_get_an_error_page_and_the_login_goes_on(
    listener: LoopbackListener,
    browser: httpx2.AsyncClient,
    path: str,
    query: dict[str, str | list[str]],
    status: int,
) -> None:
    url = listener.redirect_uri.removesuffix("/callback") + path
    assert (await browser.get(url, params=query)).status_code == status
    await browser.get(listener.redirect_uri, params=GOOD)
    assert (await listener.wait(60)).code == "the-code"


@pytest.mark.parametrize(
    "query",
    [
        GOOD | {"iss": "https://elsewhere.example"},
        GOOD | {"iss": f"{ISSUER}/"},
        GOOD | {"iss": [ISSUER, "https://elsewhere.example"]},
        GOOD | {"code": ["one", "two"]},
        GOOD | {"code": ""},
        {"code": "x", "state": "right"},
        {"error": "access_denied", "state": "right"},
        {"state": "right", "iss": ISSUER},
    ],
)
async def test_t108_an_answer_to_this_login_that_cannot_be_trusted_ends_it(
    listener: LoopbackListener, browser: httpx2.AsyncClient, query: dict[str, str | list[str]]
) -> None:
    page = await browser.get(listener.redirect_uri, params=query)
    assert page.status_code == 400
    with pytest.raises(WorkshopError, match="cannot be trusted"):
        await listener.wait(60)


async def test_an_issuer_that_promises_no_iss_may_leave_it_out(browser: httpx2.AsyncClient) -> None:
    async with LoopbackListener(free_port()) as listener:
        listener.expect("right", ISSUER, iss_required=False)
        await browser.get(listener.redirect_uri, params={"code": "x", "state": "right"})
        assert (await listener.wait(60)).iss is None


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        ("access_denied", CredentialsError, "not approved"),
        ("server_error", WorkshopError, "ended the login with an error"),
        ("\x1b[2Jevil", WorkshopError, "ended the login with an error"),
    ],
)
async def test_an_error_answer_ends_the_login_with_what_it_means(
    listener: LoopbackListener,
    browser: httpx2.AsyncClient,
    error: str,
    kind: type[WorkshopError],
    told: str,
) -> None:
    await browser.get(listener.redirect_uri, params={"error": error, "state": "right", "iss": ISSUER})
    with pytest.raises(kind, match=told) as caught:
        await listener.wait(60)
    assert "\x1b" not in caught.value.why
    if error == "server_error":
        assert "`workshop logs` shows" in caught.value.hint, "`status` of a cluster names no log"


async def test_a_known_refusal_is_explained_on_the_page_and_in_the_terminal(
    listener: LoopbackListener, browser: httpx2.AsyncClient
) -> None:
    description = "Signing in at GitHub failed. <b>words</b> (incorrect_client_credentials). And more."
    query = {"error": "server_error", "error_description": description, "state": "right", "iss": ISSUER}
    page = await browser.get(listener.redirect_uri, params=query)
    refusal = known_refusal("incorrect_client_credentials")
    assert refusal is not None
    assert refusal.meaning in page.text
    assert "GITHUB_OAUTH_CLIENT_SECRET" in page.text
    assert "words" not in page.text
    with pytest.raises(WorkshopError, match="does not accept the client ID") as caught:
        await listener.wait(60)
    assert caught.value.hint == refusal.remedy
    assert caught.value.why.endswith(": incorrect_client_credentials")


async def test_an_unknown_failure_is_not_called_a_denial_and_its_words_stay_off_the_page(
    listener: LoopbackListener, browser: httpx2.AsyncClient
) -> None:
    query = {
        "error": "server_error",
        "error_description": "<b>it\nbroke</b>\u202e",
        "state": "right",
        "iss": ISSUER,
    }
    page = await browser.get(listener.redirect_uri, params=query)
    assert "nobody denied it" in page.text
    assert "broke" not in page.text
    with pytest.raises(WorkshopError) as caught:
        await listener.wait(60)
    assert caught.value.why == "It reported `server_error`: <b>it broke</b>\\x202e"


async def test_a_login_is_answered_once(listener: LoopbackListener, browser: httpx2.AsyncClient) -> None:
    await browser.get(listener.redirect_uri, params=GOOD)
    second = await browser.get(listener.redirect_uri, params=GOOD | {"code": "another"})
    assert second.status_code == 400
    assert (await listener.wait(60)).code == "the-code"
    third = await browser.get(listener.redirect_uri, params=GOOD)
    assert third.status_code == 400


async def test_an_answer_that_never_comes_is_a_timeout(listener: LoopbackListener) -> None:
    with pytest.raises(TimeoutError):
        await listener.wait(0.01)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /callback HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"421"),
        (b"GET /callback HTTP/1.1\r\nHost: localhost\r\n\r\n", b"421"),
        (b"GET /callback HTTP/1.1\r\n\r\n", b"421"),
        (b"POST /callback HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 0\r\n\r\n", b"405"),
        (b"GET http://evil.example/callback HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n", b"400"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"\x16\x03\x01 TLS\r\n\r\n", b"400"),
        (b"GET /callback HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", b"431"),
    ],
)
async def test_what_is_not_a_small_get_for_localhost_is_refused(
    listener: LoopbackListener, request_bytes: bytes, status: bytes
) -> None:
    port = httpx2.URL(listener.redirect_uri).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_bytes.replace(b"{port}", str(port).encode()))
    assert (await reader.readline()).split()[1] == status
    writer.close()


async def test_a_connection_that_says_nothing_holds_nobody_up(
    listener: LoopbackListener, browser: httpx2.AsyncClient
) -> None:
    _, silent = await asyncio.open_connection("127.0.0.1", httpx2.URL(listener.redirect_uri).port)
    await browser.get(listener.redirect_uri, params=GOOD)
    assert (await listener.wait(60)).code == "the-code"
    silent.close()


async def test_t110_a_busy_port_is_replaced_by_a_free_one(browser: httpx2.AsyncClient) -> None:
    port = free_port()
    taken = bind_loopback(port)
    try:
        async with LoopbackListener(port) as listener:
            assert httpx2.URL(listener.redirect_uri).port != port
            listener.expect("right", ISSUER, iss_required=True)
            await browser.get(listener.redirect_uri, params=GOOD)
            assert (await listener.wait(60)).code == "the-code"
    finally:
        for sock in taken:
            sock.close()


async def test_nothing_listens_after_it_is_closed() -> None:
    async with LoopbackListener(free_port()) as listener:
        port = httpx2.URL(listener.redirect_uri).port or 0
    for sock in bind_loopback(port):
        sock.close()
