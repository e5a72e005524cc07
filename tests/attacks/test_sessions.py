"""Attacks on MCP sessions: whose they are, and how they end (checklist T89)."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from tests.servers.gateway.harness import Site, configured, settings, site, upstream_of
from tests.servers.gateway.mcp_upstream import CALL, Recorder, relaying


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
