"""Attacks on MCP sessions and open streams: whose they are, and how they end (checklist T89)."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2
import pytest
from aiohttp import web

from tests.servers.gateway.harness import (
    DEADLINE,
    DISCOVER,
    SignedIn,
    Site,
    configured,
    real_site,
    settings,
    site,
    upstream_of,
)
from tests.servers.gateway.mcp_upstream import CALL, Recorder, relaying
from workshop.auth.limits import Patience
from workshop.core.ports import free_port


def with_session(session: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.Response:
        del request
        return web.json_response({}, headers={"Mcp-Session-Id": session})

    return answer


async def in_session(gateway: Site, bearer: dict[str, str], session: str, method: str = "POST") -> int:
    headers, body = {**bearer, "Mcp-Session-Id": session}, CALL if method == "POST" else None
    return (await gateway.http.request(method, "/mcp", headers=headers, json=body)).status_code


async def test_t89_a_session_the_client_chose_is_not_found(tmp_path: Path, practice: str) -> None:
    async with relaying(tmp_path, practice) as (gateway, recorder):
        signed_in = await gateway.sign_in()
        answer = await gateway.http.post("/mcp", headers={**signed_in.bearer, "Mcp-Session-Id": "1"})
        assert answer.status_code == 404
        assert answer.json()["error"] == {"code": -32001, "message": "Session not found"}
    assert recorder.requests == []


@pytest.mark.parametrize("other", ["learner", "mentor"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_t89_a_session_of_one_sign_in_is_not_found_for_another(
    tmp_path: Path, practice: str, other: str, method: str
) -> None:
    async with relaying(tmp_path, practice, with_session("s1")) as (gateway, _):
        owner, stranger = await gateway.sign_in("learner"), await gateway.sign_in(other)
        await gateway.http.post("/mcp", headers=owner.bearer, json=CALL)
        assert await in_session(gateway, stranger.bearer, "s1", method) == 404
        # Even if the remote server names it to the stranger too: who was first keeps it.
        await gateway.http.post("/mcp", headers=stranger.bearer, json=CALL)
        assert await in_session(gateway, stranger.bearer, "s1", method) == 404
        assert await in_session(gateway, owner.bearer, "s1", method) == 200


async def test_a_session_survives_a_restart_and_ends_with_delete(tmp_path: Path, practice: str) -> None:
    async with upstream_of(Recorder(with_session("s1")).route()) as remote:
        config = configured(tmp_path, settings(tmp_path, upstream=practice) | {"remote_url": f"{remote}/mcp"})
        async with site(config) as gateway:
            signed_in = await gateway.sign_in()
            await gateway.http.post("/mcp", headers=signed_in.bearer, json=CALL)
        async with site(config) as gateway:
            assert await in_session(gateway, signed_in.bearer, "s1") == 200
            assert await in_session(gateway, signed_in.bearer, "s1", "DELETE") == 200
            assert await in_session(gateway, signed_in.bearer, "s1") == 404


async def test_two_session_headers_are_malformed(tmp_path: Path, practice: str) -> None:
    async with relaying(tmp_path, practice) as (gateway, _):
        signed_in = await gateway.sign_in()
        headers = [*signed_in.bearer.items(), ("Mcp-Session-Id", "a"), ("Mcp-Session-Id", "b")]
        assert (await gateway.http.post("/mcp", headers=headers)).status_code == 400


OFTEN = Patience(revocation=0.02)


async def revoke(gateway: Site, person: SignedIn) -> None:
    fields = {"client_id": person.client_id, "token": person.refresh_token}
    assert (await gateway.http.post("/oauth/revoke", data=fields)).status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_t87_a_stream_ends_soon_after_its_own_sign_in_and_no_other_was_revoked(
    tmp_path: Path, practice: str, method: str
) -> None:
    more, gone = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            await response.write(b": open\n\n")
            await more.wait()
            await response.write(b": more\n\n")
            await asyncio.Event().wait()
        finally:
            gone.set()
        return response

    async with upstream_of(web.route("*", "/mcp", answer)) as remote:
        values = settings(tmp_path, upstream=practice, port=free_port()) | {"remote_url": f"{remote}/mcp"}
        async with real_site(configured(tmp_path, values), patience=OFTEN) as gateway:
            person, other = await gateway.sign_in(), await gateway.sign_in("mentor")
            body = DISCOVER if method == "POST" else None
            async with gateway.http.stream(method, "/mcp", headers=person.bearer, json=body) as stream:
                chunks = stream.aiter_raw()
                assert await anext(chunks) == b": open\n\n"
                await revoke(gateway, other)
                more.set()
                assert await anext(chunks) == b": more\n\n"
                await revoke(gateway, person)
                with pytest.raises(httpx2.RemoteProtocolError):
                    await asyncio.wait_for(anext(chunks), DEADLINE)
            await asyncio.wait_for(gone.wait(), DEADLINE)
