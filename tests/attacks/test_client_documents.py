"""Client metadata documents: what an address may be, where it may lead, what a document may say."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.servers.gateway.documents import CLIENT, Library, Names, certificate, document, documents_at
from tests.servers.gateway.harness import CALLBACK, Site, configured, settings, site
from workshop.auth.client_documents import DocumentError
from workshop.auth.clients import client_id_problem
from workshop.auth.guarded_fetch import GuardedFetch, is_loopback, is_public

PATIENT_SECONDS = 30.0


@asynccontextmanager
async def knowing(folder: Path, practice: str, library: Library) -> AsyncIterator[Site]:
    values = settings(folder, upstream=practice)
    values["auth"]["cimd"] = {"enabled": True}
    async with site(configured(folder, values), fetch=library) as gateway:
        yield gateway


ADDRESSES = [
    "http://client.example.com/c.json",
    "https://client.example.com",
    "https://client.example.com/",
    "https://client.example.com?x=/c.json",
    "https://client.example.com/c.json#here",
    "https://client.example.com/c.json#",
    "https://client.example.com/./c.json",
    "https://client.example.com/a/../c.json",
    "https://client.example.com/a/%2e%2E/c.json",
    "https://client.example.com//c.json",
    "https://user@client.example.com/c.json",
    "https://user:word@client.example.com/c.json",
    "https://@client.example.com/c.json",
    "https://client.example.com:0/c.json",
    "https://client.example.com:99999/c.json",
    "https://client.example.com\\@10.0.0.1/c.json",
    "https://client.example.com/c.json\r\nHost: x",
    "https://CLIENT.example.com/c.json",
    "HTTPS://client.example.com/c.json",
    "https://client.example.com./c.json",
    "https://localhost/c.json",
    "https://localhost./c.json",
    "https://intranet/c.json",
    "https://cl%69ent.example.com/c.json",
    "https://клиент.example.com/c.json",
    "https://ⓒlient.example.com/c.json",
    "https://-client.example.com/c.json",
    "https://client..example.com/c.json",
    "https:client.example.com/c.json",
    "https:///client.example.com/c.json",
    "//client.example.com/c.json",
    "ftp://client.example.com/c.json",
    "file:///etc/passwd",
    "data:application/json,{}",
    "https://client.example.com/" + "c" * 1024,
]
NUMBERS = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.1.",
    "1.2.3",
    "93.184.216.34",
    "client.example.0x7f",
    "client.example.1",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2606:2800:220:1::1]",
    "[fe80::1%25eth0]",
    "①②⑦.0.0.1",
]


@pytest.mark.parametrize("url", ADDRESSES, ids=range(len(ADDRESSES)))
async def test_t74_an_address_that_names_no_document_is_refused_and_not_fetched(
    tmp_path: Path, practice: str, url: str
) -> None:
    library = Library({url: json.dumps(document(url)).encode()})
    async with knowing(tmp_path, practice, library) as gateway:
        answer = await gateway.authorize(url)
    assert (answer.status_code, answer.is_redirect) == (400, False)
    assert library.fetched == []


@pytest.mark.parametrize("host", NUMBERS)
def test_t75_an_address_in_numbers_is_refused_in_every_spelling(host: str) -> None:
    assert client_id_problem(f"https://{host}/c.json", loopback=False)


def test_t74_a_name_a_port_a_path_and_a_query_are_fine() -> None:
    for url in (CLIENT, "https://xn--e1afmkfd.example.com:8443/a/c.json?v=1", "https://1.example.com/c"):
        assert client_id_problem(url, loopback=False) is None


PRIVATE = [
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
    *(
        "100.64.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
    ),
    *("240.0.0.1", "255.255.255.255", "192.88.99.1", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1"),
    *("::ffff:8.8.8.8", "64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2001:0:7f00:1::", "fe80::1"),
    *("fe80::1%1", "2606:4700::1%1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "ff0e::1"),
    *("2001:db8::1", "100::1", "3fff::1", "5f00::1", "not an address", ""),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_t75_an_address_that_is_not_on_the_public_internet_is_not_contacted(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "140.82.121.4", "2606:4700::1111", "2a00:1450::1"])
def test_t75_a_public_address_is_contacted(address: str) -> None:
    assert is_public(address)


class Trap:
    """A server inside, which nobody must reach."""

    def __init__(self) -> None:
        self.reached = 0

    async def answer(self, request: web.Request) -> web.Response:
        del request
        self.reached += 1
        return web.json_response(document())


@pytest.mark.parametrize("answer", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"], ["::1"]])
async def test_t75_a_name_with_a_private_address_gets_no_connection(answer: list[str]) -> None:
    trap = Trap()
    async with documents_at(trap.answer) as port:
        fetch = GuardedFetch(PATIENT_SECONDS, names=Names([answer]))
        with pytest.raises(DocumentError, match="cannot be fetched"):
            await fetch(f"https://client.example.com:{port}/c.json")
    assert trap.reached == 0


async def test_t75_a_literal_address_is_checked_when_the_socket_is_made() -> None:
    trap = Trap()
    async with documents_at(trap.answer) as port:
        for host in ("127.0.0.2", "[::ffff:127.0.0.1]"):
            with pytest.raises(DocumentError):
                await GuardedFetch(PATIENT_SECONDS)(f"http://{host}:{port}/c.json")
    assert trap.reached == 0


OUTSIDE = "127.0.0.2"
"""Plays a public address; 127.0.0.1 plays the inside."""


async def test_t76_a_dns_answer_that_changes_leads_nowhere_else(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        del request
        return web.json_response(document())

    trap, (server, client) = Trap(), certificate(tmp_path, "client.example.com")
    names = Names([[OUTSIDE], ["127.0.0.1"]])
    async with documents_at(answer, OUTSIDE, server) as port:
        fetch = GuardedFetch(PATIENT_SECONDS, names=names, reachable=OUTSIDE.__eq__, tls=client)
        async with documents_at(trap.answer, "127.0.0.1", server, port):
            url = f"https://client.example.com:{port}/c.json"
            assert json.loads((await fetch(url)).body) == document()
            assert names.asked == ["client.example.com"]
            with pytest.raises(DocumentError):
                await fetch(url)
    assert trap.reached == 0
    assert len(names.asked) == 2


async def test_t76_an_address_that_was_allowed_is_looked_at_again_when_the_socket_is_made(
    tmp_path: Path,
) -> None:
    trap, (server, client) = Trap(), certificate(tmp_path, "client.example.com")
    verdicts = [True, False]
    async with documents_at(trap.answer, tls=server) as port:
        fetch = GuardedFetch(
            PATIENT_SECONDS, names=Names([["127.0.0.1"]]), reachable=lambda _: verdicts.pop(0), tls=client
        )
        with pytest.raises(DocumentError):
            await fetch(f"https://client.example.com:{port}/c.json")
    assert (trap.reached, verdicts) == (0, [])


async def test_t76_another_server_s_certificate_is_not_believed(tmp_path: Path) -> None:
    trap, (server, client) = Trap(), certificate(tmp_path, "other.example.com")
    async with documents_at(trap.answer, tls=server) as port:
        fetch = GuardedFetch(PATIENT_SECONDS, names=Names([["127.0.0.1"]]), reachable=is_loopback, tls=client)
        with pytest.raises(DocumentError):
            await fetch(f"https://client.example.com:{port}/c.json")
    assert trap.reached == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_t76_a_redirect_is_not_followed(status: int) -> None:
    trap = Trap()

    async def answer(request: web.Request) -> web.Response:
        del request
        return web.Response(
            status=status, headers={"Location": f"http://localhost:{inside}/latest/meta-data"}
        )

    async with documents_at(trap.answer) as inside, documents_at(answer) as port:
        with pytest.raises(DocumentError, match="not a plain 200"):
            await GuardedFetch(PATIENT_SECONDS)(f"http://localhost:{port}/c.json")
    assert trap.reached == 0


async def test_t76_no_proxy_is_used_and_no_cookie_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(dict(request.headers))
        return web.json_response(document(), headers={"Set-Cookie": "a=b"})

    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with documents_at(answer) as port:
        fetch = GuardedFetch(PATIENT_SECONDS)
        for _ in range(2):
            await fetch(f"http://localhost:{port}/c.json")
    assert [headers.keys() & {"Cookie", "Authorization", "Referer"} for headers in seen] == [set(), set()]


async def huge(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    while True:
        await response.write(b" " * 65536)


async def slow(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b"{")
    await asyncio.Event().wait()
    return response


async def html(request: web.Request) -> web.Response:
    del request
    return web.Response(text=json.dumps(document()), content_type="text/html")


async def compressed(request: web.Request) -> web.Response:
    del request
    body = gzip.compress(json.dumps(document()).encode())
    return web.Response(body=body, content_type="application/json", headers={"Content-Encoding": "gzip"})


async def missing(request: web.Request) -> web.Response:
    del request
    return web.json_response(document(), status=404)


async def headers_without_end(request: web.Request) -> web.Response:
    del request
    return web.json_response(document(), headers={"X-Long": "x" * 6000})


BROKEN = [
    (huge, PATIENT_SECONDS, "more than 5120 bytes"),
    (slow, 0.2, "cannot be fetched"),
    (html, PATIENT_SECONDS, "not JSON"),
    (compressed, PATIENT_SECONDS, "compressed"),
    (missing, PATIENT_SECONDS, "not a plain 200"),
    (headers_without_end, PATIENT_SECONDS, "cannot be fetched"),
]


@pytest.mark.parametrize(("handler", "seconds", "why"), BROKEN, ids=[case[0].__name__ for case in BROKEN])
async def test_t77_a_document_that_is_long_slow_or_something_else_is_refused(
    handler: Any, seconds: float, why: str
) -> None:
    async with documents_at(handler) as port:
        with pytest.raises(DocumentError, match=why):
            await GuardedFetch(seconds)(f"http://localhost:{port}/c.json")


async def test_t77_a_document_of_exactly_five_kibibytes_is_read() -> None:
    async def answer(request: web.Request) -> web.Response:
        del request
        return web.Response(body=b" " * 5120, content_type="application/x+json")

    async with documents_at(answer) as port:
        assert len((await GuardedFetch(PATIENT_SECONDS)(f"http://localhost:{port}/c.json")).body) == 5120


SAYINGS: list[dict[str, Any]] = [
    {"client_id": CLIENT + "/"},
    {"client_id": CLIENT.upper()},
    {"client_id": None},
    {"client_id": [CLIENT]},
    {"client_name": None},
    {"client_name": ""},
    {"client_name": "\u202e\u200b"},
    {"client_name": "n" * 257},
    {"client_name": 7},
    {"redirect_uris": None},
    {"redirect_uris": []},
    {"redirect_uris": [CALLBACK] * 11},
    {"redirect_uris": ["http://client.example.com/cb"]},
    {"redirect_uris": [CALLBACK, "https://client.example.com/cb#x"]},
    {"redirect_uris": ["javascript:alert(1)"]},
    {"redirect_uris": [CALLBACK], "application_type": "web"},
    {"token_endpoint_auth_method": "client_secret_basic"},
    {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://client.example.com/jwks"},
    {"client_secret": "practice_secret"},
    {"client_secret_expires_at": 0},
    {"grant_types": ["implicit"]},
    {"grant_types": "authorization_code"},
    {"response_types": ["token"]},
    {"scope": "admin"},
    {"scope": 7},
]
BODIES = [
    *(json.dumps(document(**saying)).encode() for saying in SAYINGS),
    b"",
    b"7",
    b"[]",
    b"{",
    b"[" * 5000,
    json.dumps(document()).encode("utf-16"),
    json.dumps(document()).encode()[:-1] + b', "redirect_uris": ["https://evil.test/cb"]}',
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
async def test_t77_a_document_that_says_something_wrong_is_refused(
    tmp_path: Path, practice: str, body: bytes
) -> None:
    async with knowing(tmp_path, practice, Library({CLIENT: body})) as gateway:
        answer = await gateway.authorize(CLIENT)
        assert (answer.status_code, answer.is_redirect) == (400, False)
        assert "cannot be used" in answer.text
        # And at the token endpoint it is no client at all.
        refused = await gateway.redeem(CLIENT, "no-code")
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")


async def test_t77_the_redirect_uri_must_be_one_of_the_document(tmp_path: Path, practice: str) -> None:
    library = Library({CLIENT: json.dumps(document()).encode()})
    async with knowing(tmp_path, practice, library) as gateway:
        answer = await gateway.authorize(CLIENT, redirect_uri="https://evil.test/cb")
        assert (answer.status_code, answer.is_redirect) == (400, False)
        assert (await gateway.authorize(CLIENT)).status_code == 200


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/revoke"])
async def test_t76_the_token_endpoint_fetches_nothing(tmp_path: Path, practice: str, path: str) -> None:
    library = Library({CLIENT: json.dumps(document()).encode()})
    async with knowing(tmp_path, practice, library) as gateway:
        fields = {"client_id": CLIENT, "grant_type": "refresh_token", "refresh_token": "x", "token": "x"}
        answer = await gateway.http.post(path, data=fields)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert library.fetched == []
