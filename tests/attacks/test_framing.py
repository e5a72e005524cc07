"""Requests two readers could understand differently, over a real connection."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.servers.gateway.harness import DEADLINE, SignedIn, Site, configured, real_site, settings
from workshop.core.ports import free_port


@pytest.fixture
async def served_gateway(tmp_path: Path, practice: str) -> AsyncIterator[Site]:
    values = settings(tmp_path, upstream=practice, port=free_port())
    async with real_site(configured(tmp_path, values)) as running:
        yield running


async def replies(gateway: Site, request: str, *, close: bool = True) -> list[int]:
    """The statuses of all answers to these bytes, until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.config.port)
    host = f"Host: localhost:{gateway.config.port}\r\n"
    last = f"GET /health HTTP/1.1\r\n{host}Connection: close\r\n\r\n" if close else ""
    writer.write((request.replace("HOST\r\n", host) + last).encode("latin-1"))
    answer = await asyncio.wait_for(reader.read(), DEADLINE)
    writer.close()
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


SMUGGLED = "GET /health HTTP/1.1\r\nHOST\r\n\r\n"
AMBIGUOUS = {
    "both lengths": "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "both lengths, other order": "Transfer-Encoding: chunked\r\nContent-Length: 400\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "two lengths": "Content-Length: 4\r\nContent-Length: 5\r\n\r\naaaaa" + SMUGGLED,
    "a signed length": "Content-Length: +4\r\n\r\naaaa" + SMUGGLED,
    "an unknown coding": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two codings": "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a space before the colon": "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a chunk size that is none": "Transfer-Encoding: chunked\r\n\r\n0x4\r\naaaa\r\n0\r\n\r\n" + SMUGGLED,
    "a null byte": "X-A: b\0c\r\n\r\n" + SMUGGLED,
    "lines without a carriage return": "X-A: b\nX-C: d\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "a folded line": "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "the same length twice": "Content-Length: 4\r\nContent-Length: 4\r\n\r\naaaa" + SMUGGLED,
    "a length in a trailer": "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 50\r\n\r\n" + SMUGGLED,
    "two hosts": "Host: evil.test\r\n\r\n" + SMUGGLED,
}


async def test_nothing_that_is_hidden_in_a_request_is_answered(served_gateway: Site) -> None:
    kind = "Content-Type: application/x-www-form-urlencoded\r\n"
    answered = {
        (path, name): await replies(served_gateway, f"POST {path} HTTP/1.1\r\nHOST\r\n{kind}{rest}")
        for path in ("/oauth/token", "/mcp")
        for name, rest in AMBIGUOUS.items()
    }
    assert [key for key, statuses in answered.items() if statuses != [400]] == []


async def test_requests_in_a_row_are_each_asked_for_their_own_token(
    served_gateway: Site,
) -> None:
    signed_in: SignedIn = await served_gateway.sign_in()
    bearer = f"Authorization: Bearer {signed_in.access_token}\r\n"
    body = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
    described = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    call = "POST /mcp HTTP/1.1\r\nHOST\r\n{}" + described
    pipelined = [call.format(token) + body for token in (bearer, "", bearer, "Authorization: Bearer x\r\n")]
    statuses = await replies(served_gateway, "".join(pipelined))
    assert statuses[0] == statuses[2] != 401
    assert (statuses[1], statuses[3], statuses[4]) == (401, 401, 200)


async def test_an_offer_of_another_protocol_is_declined_and_the_connection_goes_on(
    served_gateway: Site,
) -> None:
    """As Java's client makes it with its first request, which may have a body."""
    signed_in = await served_gateway.sign_in()
    body = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
    offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"
    described = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    bearer = f"Authorization: Bearer {signed_in.access_token}\r\n"
    call = f"POST /mcp HTTP/1.1\r\nHOST\r\n{bearer}{offer}{described}{body}"
    without = f"POST /mcp HTTP/1.1\r\nHOST\r\n{bearer}{described}{body}"
    (expected, _) = await replies(served_gateway, without)
    assert await replies(served_gateway, call + SMUGGLED.replace("/health", "/mcp")) == [expected, 401, 200]


async def test_a_head_without_end_is_cut_off_and_others_are_served(served_gateway: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served_gateway.config.port)
    writer.write(b"GET /health HTTP/1.1\r\nX-A: " + b"a" * 256 * 1024)
    assert b" 400 " in await asyncio.wait_for(reader.readline(), DEADLINE)
    writer.close()
    assert (await served_gateway.http.get("/health")).status_code == 200


SPELLINGS = [
    *(f"POST {path} HTTP/1.1" for path in ("//oauth/token", "/oauth/../mcp", "/OAUTH/token", "/mcp/..")),
    "GET http://evil.test/health HTTP/1.1",
    "CONNECT evil.test:443 HTTP/1.1",
]


async def test_another_spelling_of_a_path_opens_no_other_door_and_no_way_through(
    served_gateway: Site,
) -> None:
    for line in SPELLINGS:
        request = f"{line}\r\nHOST\r\nContent-Length: 0\r\n\r\n"
        assert (await replies(served_gateway, request))[0] in {400, 401, 404, 405}, line
