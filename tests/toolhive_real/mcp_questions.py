"""The questions about MCP: what goes through, what is refused, and what ends a login."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from tests.attacks.test_envelopes import NO_JSON, NO_MESSAGE
from tests.servers.gateway.harness import MCP_HEADERS, NO_TLS, SignedIn
from tests.servers.gateway.reading import challenge_of
from tests.toolhive_real.places import DEADLINE, Place, Visitor
from tests.toolhive_real.questions import RESOURCE, outcome, signed_in

LEGACY, MODERN = "2025-11-25", "2026-07-28"
ERAS = (LEGACY, MODERN)
_NO_UTF_8 = "no utf-8"


async def swap(place: Place, visitor: Visitor) -> str:
    """Whose tokens GitHub gets to see when two people call."""
    for user in ("learner", "mentor"):
        held = await signed_in(place, visitor, user)
        assert (await visitor.call(held.bearer)).status_code == httpx2.codes.OK
    seen = [request.authorization or {} for request in await place.at_github()]
    return ", ".join(sorted({f"{each.get('kind')} of {each.get('user')}" for each in seen}))


async def envelopes(place: Place, visitor: Visitor) -> str:
    """Bodies that are not one JSON-RPC message."""
    return await _refused(place, visitor, NO_MESSAGE)


async def no_json(place: Place, visitor: Visitor) -> str:
    """Bodies that are not JSON, in UTF-8 at least."""
    return await _refused(place, visitor, {why: body for why, body in NO_JSON.items() if why != _NO_UTF_8})


async def no_utf_8(place: Place, visitor: Visitor) -> str:
    """A text that is JSON but for bytes that are not UTF-8."""
    return await _refused(place, visitor, {_NO_UTF_8: NO_JSON[_NO_UTF_8]})


async def _refused(place: Place, visitor: Visitor, bodies: Mapping[str, bytes]) -> str:
    held, told = await signed_in(place, visitor), dict[str, list[str]]()
    for why, body in bodies.items():
        answer = await visitor.http.post("/mcp", headers={**MCP_HEADERS, **held.bearer}, content=body)
        told.setdefault(f"{answer.status_code} {_code(answer)}", []).append(why)
    return "; ".join(told) if len(told) == 1 else str(told)


async def framing(place: Place, visitor: Visitor) -> str:
    """A GET with a body, and a call that names a header of ours in `Connection`."""
    held = await signed_in(place, visitor)
    with_body = await visitor.http.request("GET", "/mcp", headers=held.bearer, content=b"{}")
    named = await visitor.call({**held.bearer, "Connection": "Mcp-Method"})
    return f"{with_body.status_code}, {named.status_code}"


async def without_post(place: Place, visitor: Visitor) -> str:
    """The other methods in MCP 2026-07-28, which has no sessions and no streams to open."""
    held = await signed_in(place, visitor)
    headers = {**held.bearer, "MCP-Protocol-Version": MODERN}
    statuses = [await visitor.http.request(method, "/mcp", headers=headers) for method in ("GET", "DELETE")]
    return ", ".join(str(answer.status_code) for answer in statuses)


async def unknown_session(place: Place, visitor: Visitor) -> str:
    held = await signed_in(place, visitor)
    answer = await visitor.call({**held.bearer, "Mcp-Session-Id": "nobody-opened-this"})
    return f"{answer.status_code} {_code(answer)}"


async def revoked_at_github(place: Place, visitor: Visitor) -> str:
    """A call, a refresh and a call after the person took back at GitHub what they had approved."""
    held = await signed_in(place, visitor)
    await place.revoke_at_github("learner")
    answer = await visitor.call(held.bearer)
    told = challenge_of(answer).get("resource_metadata")
    whose = "its own" if told == f"{visitor.url}{RESOURCE}" else "GitHub's"
    refreshed = await visitor.refresh(held.client_id, held.refresh_token)
    return f"{answer.status_code} with {whose} challenge; refresh: {outcome(refreshed)}"


async def restart(place: Place, visitor: Visitor) -> str:
    """A call with a token from before, and the challenge that follows."""
    held = await signed_in(place, visitor)
    place.restart()
    answer = await visitor.call(held.bearer)
    if answer.is_success:
        return "the login stands"
    told = challenge_of(answer)
    where = "says where to log in" if told.get("resource_metadata") else "does not say where to log in"
    again = outcome(await visitor.refresh(held.client_id, held.refresh_token))
    place.client_id = ""
    return f"{answer.status_code} {told.get('error')}, {where}; refresh: {again}"


# The tool filter: `get_me` is called `who_am_i`, and of all others only `list_issues` is there.


async def filtered_list(place: Place, visitor: Visitor) -> str:
    """The tools, in both revisions of MCP."""
    told = []
    for era in ERAS:
        async with await mcp(place, visitor, era) as client:
            told.append(" ".join(sorted(tool.name for tool in (await client.list_tools()).tools)))
    return ", ".join(told)


async def hidden_tool(place: Place, visitor: Visitor) -> str:
    return await _in_both(place, visitor, "search_repositories", {"query": "user:learner"})


async def renamed_tool(place: Place, visitor: Visitor) -> str:
    """The renamed tool by its new name."""
    return await _in_both(place, visitor, "who_am_i", {})


async def _in_both(place: Place, visitor: Visitor, tool: str, arguments: dict[str, Any]) -> str:
    return ", ".join([f"{era}: {await _called(place, visitor, era, tool, arguments)}" for era in ERAS])


async def _called(place: Place, visitor: Visitor, era: str, tool: str, arguments: dict[str, Any]) -> str:
    async with await mcp(place, visitor, era) as client:
        try:
            answer = await client.call_tool(tool, arguments)
        except MCPError as error:
            return str(error.code)
        return "tool error" if answer.is_error else "answered"


async def mcp(place: Place, visitor: Visitor, era: str) -> AbstractAsyncContextManager[Client]:
    """The SDK's client in one revision of the protocol, logged in as the learner."""
    held = await signed_in(place, visitor)
    return _client(f"{place.url}/mcp", held, "legacy" if era == LEGACY else era)


@asynccontextmanager
async def _client(url: str, held: SignedIn, mode: str) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers=held.bearer, verify=NO_TLS, trust_env=False, timeout=DEADLINE) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


def _code(answer: httpx2.Response) -> object:
    error = answer.json().get("error")
    return error.get("code") if isinstance(error, dict) else error
