"""A stream that is open when its sign-in ends does not stay open."""

import asyncio
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
    upstream_of,
)
from workshop.auth.limits import Patience
from workshop.core.ports import free_port

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
