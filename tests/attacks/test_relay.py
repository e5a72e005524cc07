"""Attacks on the relay and the token swap (checklist T92 to T99), also by what the remote server answers."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from aiohttp import web

from tests.servers.gateway.harness import (
    DEADLINE,
    PATIENT,
    configured,
    real_site,
    settings,
    site,
    upstream_of,
)
from tests.servers.gateway.mcp_upstream import CALL, Recorder, relaying
from tests.servers.gateway.reading import challenge_of
from tests.serving import raw
from workshop.auth.limits import Patience
from workshop.core.ports import free_port


async def test_t92_the_remote_server_sees_its_own_token_and_no_other_credential(
    tmp_path: Path, practice: str
) -> None:
    async with relaying(tmp_path, practice) as (gateway, recorder):
        signed_in = await gateway.sign_in()
        headers = {
            **signed_in.bearer,
            "Cookie": "session=x",
            "Proxy-Authorization": "Basic x",
            "X-Github-Pat": "of-another-user",
            "X-MCP-Readonly": "false",
            "X-Forwarded-For": "1.2.3.4",
            "X-Forwarded-Host": "evil.test",
            "Forwarded": "for=1.2.3.4",
            "Accept": "application/json, text/event-stream",
            "Accept-Encoding": "gzip, br",
            "Content-Type": "application/json",
            "Last-Event-ID": "7",
            "Traceparent": "00-1-2-03",
            "User-Agent": "a-test",
            "Mcp-Protocol-Version": "2026-07-28",
            "Mcp-Param-Region": "north",
        }
        answer = await gateway.http.post("/mcp", headers=headers, json=CALL)
        assert answer.status_code == 200
    sent = recorder.sent
    assert sent.pop("authorization").startswith("Bearer practice_")
    assert signed_in.access_token not in str(recorder.requests)
    sent.pop("host")
    assert sent == {
        "accept": "application/json, text/event-stream",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "content-length": str(len(json.dumps(CALL, separators=(",", ":")))),
        "last-event-id": "7",
        "traceparent": "00-1-2-03",
        "user-agent": "a-test",
        "mcp-protocol-version": "2026-07-28",
        "mcp-param-region": "north",
    }


async def test_t92_the_client_s_path_and_query_do_not_reach_the_remote_server(
    tmp_path: Path, practice: str
) -> None:
    async with relaying(tmp_path, practice) as (gateway, recorder):
        signed_in = await gateway.sign_in()
        await gateway.http.post("/x/../../admin?token=secret", headers=signed_in.bearer, json=CALL)
    ((_, path, _, _),) = recorder.requests
    assert path == "/mcp/?fixed=1"


async def test_forwarded_headers_of_the_configuration_come_last_and_win(
    tmp_path: Path, practice: str
) -> None:
    (tmp_path / "key").write_text("practice-key")
    forward = {"X-MCP-Readonly": "true", "user-agent": "ours"}
    files = {"X-Key": str(tmp_path / "key")}
    changes = {"header_forward": forward, "header_forward_files": files}
    async with relaying(tmp_path, practice, None, PATIENT, **changes) as (gateway, recorder):
        signed_in = await gateway.sign_in()
        sent = {**signed_in.bearer, "X-MCP-Readonly": "false", "User-Agent": "theirs"}
        await gateway.http.post("/mcp", headers=sent, json=CALL)
    assert recorder.sent["x-mcp-readonly"] == "true"
    assert recorder.sent["x-key"] == "practice-key"
    assert recorder.sent["user-agent"] == "ours"


async def test_t93_without_an_upstream_token_nothing_is_forwarded(tmp_path: Path, practice: str) -> None:
    async with relaying(tmp_path, practice) as (gateway, recorder):
        signed_in = await gateway.sign_in()
        access = signed_in.bearer
    # The secret that sealed the upstream tokens is lost: what is stored cannot be read any more.
    (tmp_path / "hmac").write_bytes(b"another secret of at least thirty-two bytes")
    async with relaying(tmp_path, practice) as (gateway, recorder):
        answer = await gateway.http.post("/mcp", headers=access, json=CALL)
        assert answer.status_code == 401
        assert challenge_of(answer)["error"] == "invalid_token"
        refreshed = await gateway.refresh(signed_in.client_id, signed_in.refresh_token)
        assert refreshed.json()["error"] == "invalid_grant"
    assert recorder.requests == []


async def test_t87_a_token_revoked_while_its_request_is_on_the_way_forwards_nothing(
    tmp_path: Path, practice: str
) -> None:
    async with relaying(tmp_path, practice) as (gateway, recorder):
        signed_in = await gateway.sign_in()

        async def body() -> AsyncIterator[bytes]:
            whole = json.dumps(CALL).encode()
            yield whole[:9]
            fields = {"client_id": signed_in.client_id, "token": signed_in.access_token}
            assert (await gateway.http.post("/oauth/revoke", data=fields)).status_code == 200
            yield whole[9:]

        answer = await gateway.http.post("/mcp", headers=signed_in.bearer, content=body())
    assert answer.status_code == 401
    assert recorder.requests == []


async def refusing(request: web.Request) -> web.Response:
    del request
    headers = {"WWW-Authenticate": 'Bearer resource_metadata="https://evil.test/prm"', "Set-Cookie": "x=y"}
    return web.Response(status=401, headers=headers, text="upstream words")


async def test_t94_an_upstream_401_evicts_the_token_and_becomes_our_own_challenge(
    tmp_path: Path, practice: str
) -> None:
    async with relaying(tmp_path, practice, refusing) as (gateway, recorder):
        signed_in = await gateway.sign_in()
        for _ in range(2):
            answer = await gateway.http.post("/mcp", headers=signed_in.bearer, json=CALL)
            assert answer.status_code == 401
            assert challenge_of(answer)["error"] == "invalid_token"
            assert "evil.test" not in str(answer.headers)
            assert "upstream words" not in answer.text
            assert "set-cookie" not in answer.headers
        assert len(recorder.requests) == 1
        refreshed = await gateway.refresh(signed_in.client_id, signed_in.refresh_token)
        assert refreshed.json()["error"] == "invalid_grant"


async def test_t95_response_headers_of_the_remote_origin_do_not_speak_for_ours(
    tmp_path: Path, practice: str
) -> None:
    async def answer(request: web.Request) -> web.Response:
        del request
        headers = {
            "Set-Cookie": "workshop-gateway-x=y",
            "WWW-Authenticate": "Bearer x",
            "Server": "upstream",
            "Access-Control-Allow-Origin": "*",
            "Clear-Site-Data": '"*"',
            "Strict-Transport-Security": "max-age=1",
            "Connection": "X-Private",
            "X-Private": "hop",
            "Alt-Svc": "h3",
            "Mcp-Session-Id": "s1",
            "X-RateLimit-Remaining": "9",
            "Content-Type": "text/html",
        }
        return web.Response(status=403, headers=headers, body=b"<script>")

    async with relaying(tmp_path, practice, answer) as (gateway, _):
        signed_in = await gateway.sign_in()
        got = await gateway.http.post("/mcp", headers=signed_in.bearer, json=CALL)
    assert got.status_code == 403
    assert dict(got.headers) == {
        "mcp-session-id": "s1",
        "x-ratelimit-remaining": "9",
        "content-type": "text/html",
        "content-length": "8",
        "x-content-type-options": "nosniff",
    }


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_t96_a_redirect_of_the_remote_server_is_neither_followed_nor_passed_on(
    tmp_path: Path, practice: str, status: int
) -> None:
    async def answer(request: web.Request) -> web.Response:
        del request
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    async with relaying(tmp_path, practice, answer) as (gateway, recorder):
        signed_in = await gateway.sign_in()
        got = await gateway.http.post("/mcp", headers=signed_in.bearer, json=CALL)
    assert got.status_code == 502
    assert "location" not in got.headers
    assert len(recorder.requests) == 1


async def test_t97_a_remote_server_that_is_down_is_a_502(tmp_path: Path, practice: str) -> None:
    values = settings(tmp_path, upstream=practice) | {"remote_url": f"http://127.0.0.1:{free_port()}/mcp"}
    async with site(configured(tmp_path, values)) as gateway:
        signed_in = await gateway.sign_in()
        answer = await gateway.call(signed_in.bearer)
    assert (answer.status_code, answer.json()["error"]) == (502, "bad_gateway")


async def test_t97_a_remote_server_that_hangs_before_its_headers_is_a_504(
    tmp_path: Path, practice: str
) -> None:
    async def answer(request: web.Request) -> web.Response:
        del request
        await asyncio.Event().wait()
        return web.Response()

    async with relaying(tmp_path, practice, answer, Patience(headers=0.5)) as (gateway, _):
        signed_in = await gateway.sign_in()
        got = await gateway.call(signed_in.bearer)
    assert (got.status_code, got.json()["error"]) == (504, "gateway_timeout")


async def test_t97_a_remote_server_that_speaks_no_http_is_a_502(tmp_path: Path, practice: str) -> None:
    async def chatter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"220 mail.test\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(chatter, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    values = settings(tmp_path, upstream=practice) | {"remote_url": f"http://127.0.0.1:{port}/mcp"}
    async with server, site(configured(tmp_path, values)) as gateway:
        signed_in = await gateway.sign_in()
        assert (await gateway.call(signed_in.bearer)).status_code == 502


@pytest.mark.parametrize("claimed", [True, False])
async def test_t98_a_request_body_over_four_megabytes_is_refused(
    tmp_path: Path, practice: str, claimed: object
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b" " * 1024 * 1024

    async with relaying(tmp_path, practice) as (gateway, recorder):
        signed_in = await gateway.sign_in()
        content = b" " * 5 * 1024 * 1024 if claimed else chunks()
        answer = await gateway.http.post("/mcp", headers=signed_in.bearer, content=content)
        assert answer.status_code == 413
        assert recorder.requests == []
        whole = json.dumps(CALL).encode() + b" " * 4_000_000
        almost = await gateway.http.post("/mcp", headers=signed_in.bearer, content=whole)
        assert almost.status_code == 200


async def test_t98_an_endless_answer_is_held_back_by_a_client_that_does_not_read(
    tmp_path: Path, practice: str
) -> None:
    written = 0
    stalled = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        while written < 1024**3:
            try:
                await asyncio.wait_for(response.write(b"x" * 65536), 0.5)
            except TimeoutError:
                stalled.set()
                break
            written += 65536
        return response

    recorder = Recorder(answer)
    async with upstream_of(recorder.route()) as remote:
        port = free_port()
        values = settings(tmp_path, upstream=practice, port=port) | {"remote_url": f"{remote}/mcp"}
        async with real_site(configured(tmp_path, values)) as gateway:
            signed_in = await gateway.sign_in()
            async with gateway.http.stream("POST", "/mcp", headers=signed_in.bearer, json=CALL) as got:
                assert got.status_code == 200
                await asyncio.wait_for(stalled.wait(), DEADLINE)
    # What fits in the sockets' and libraries' buffers, not what the upstream would like to send.
    assert written < 64 * 1024 * 1024


async def test_t99_many_slow_clients_do_not_keep_others_waiting(tmp_path: Path, practice: str) -> None:
    port = free_port()
    values = settings(tmp_path, upstream=practice, port=port)
    async with real_site(configured(tmp_path, values), patience=Patience(body=2.0)) as gateway:
        signed_in = await gateway.sign_in()
        slow = []
        for _ in range(200):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = f"POST /mcp HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 1000\r\n"
            writer.write(f"{head}Authorization: Bearer {signed_in.access_token}\r\n\r\n{{".encode())
            slow.append((reader, writer))
        answer = await asyncio.wait_for(gateway.call(signed_in.bearer), DEADLINE)
        assert answer.status_code == 200
        # And the slow ones are told so, in time.
        line = await asyncio.wait_for(slow[0][0].readline(), DEADLINE)
        assert b"408" in line
        for _, writer in slow:
            writer.close()


async def test_t99_a_broken_answer_is_not_passed_off_as_a_whole_one(tmp_path: Path, practice: str) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"data: half")
        assert request.transport is not None
        request.transport.abort()
        return response

    recorder = Recorder(answer)
    async with upstream_of(recorder.route()) as remote:
        values = settings(tmp_path, upstream=practice, port=free_port()) | {"remote_url": f"{remote}/mcp"}
        async with real_site(configured(tmp_path, values)) as gateway:
            signed_in = await gateway.sign_in()
            with pytest.raises(httpx2.RemoteProtocolError):
                await gateway.call(signed_in.bearer)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "OPTIONS", "TRACE"])
async def test_other_methods_are_refused(tmp_path: Path, practice: str, method: str) -> None:
    async with relaying(tmp_path, practice) as (gateway, recorder):
        signed_in = await gateway.sign_in()
        answer = await gateway.http.request(method, "/mcp", headers=signed_in.bearer)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST, DELETE")
    assert recorder.requests == []


async def test_without_authorization_configured_no_authorization_is_forwarded(tmp_path: Path) -> None:
    recorder = Recorder()
    async with upstream_of(recorder.route()) as remote:
        values = settings(tmp_path) | {"remote_url": f"{remote}/mcp", "auth": None}
        async with site(configured(tmp_path, values)) as gateway:
            answer = await gateway.http.post(
                "/mcp", headers={"Authorization": "Bearer x", "Cookie": "a=b"}, json=CALL
            )
            assert answer.status_code == 200
            for host in ("127.0.0.1:8080", "[::1]:8080"):
                assert (await gateway.http.post("/mcp", headers={"Host": host}, json=CALL)).status_code == 200
            assert (await gateway.http.post("/mcp", headers={"Host": "evil.test:8080"})).status_code == 421
            assert (
                await gateway.http.post("/mcp", headers={"Origin": "http://evil.test"})
            ).status_code == 403
            assert (await gateway.http.get("/.well-known/oauth-protected-resource")).status_code == 404
            assert (await gateway.http.get("/health")).json() == {"status": "ok"}
    assert len(recorder.requests) == 3
    assert "authorization" not in str(recorder.requests).lower()
    assert "cookie" not in str(recorder.requests).lower()


async def relayed(folder: Path, head: bytes, body: bytes = b"{}") -> tuple[int, str]:
    """The status and the error with which the gateway answers for this answer of its remote server."""
    async with raw(head, body) as url:
        values = settings(folder) | {"remote_url": f"{url}/mcp", "auth": None}
        async with site(configured(folder, values)) as gateway:
            got = await gateway.http.post("/mcp", json=CALL)
    return got.status_code, got.json()["error"]


@pytest.mark.parametrize("status", ["000", "099", "101", "600", "999", "1000", "20", "200x", "-1"])
async def test_a_status_that_http_does_not_have_is_a_bad_gateway(tmp_path: Path, status: str) -> None:
    for framing in ("Content-Length: 2", "Upgrade: x", "Transfer-Encoding: chunked"):
        assert await relayed(tmp_path, f"{status} X\r\n{framing}".encode()) == (502, "bad_gateway"), framing


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "gzip\r\nContent-Encoding: identity"])
async def test_a_compressed_answer_is_refused_because_identity_was_asked_for(
    tmp_path: Path, coding: str
) -> None:
    head = f"200 OK\r\nContent-Type: application/json\r\nContent-Encoding: {coding}".encode()
    assert await relayed(tmp_path, head, gzip.compress(b"{}")) == (502, "bad_gateway")


async def test_an_answer_that_calls_itself_identity_is_passed_on(tmp_path: Path) -> None:
    head = b"200 OK\r\nContent-Type: application/json\r\nContent-Encoding: Identity"
    assert await relayed(tmp_path, head, b'{"error": "as it came"}') == (200, "as it came")
