"""Fifty people log in and call tools at once, while others do nothing but hold connections open."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2

from tests.load.processes import DEADLINE, classroom
from tests.servers.gateway.harness import CALLBACK, DISCOVER, MCP_HEADERS, NO_TLS, Clock, SignedIn, Site
from workshop.auth.config import Auth
from workshop.auth.store import Client
from workshop.auth.store_sqlite import SqliteStore
from workshop.auth.vault import Vault

PEOPLE = 50
CALLS = 4
SLOW = 200
META = DISCOVER["params"]["_meta"]  # type: ignore[index]


def register_beforehand(site: Site, number: int) -> list[str]:
    """Registrations as of earlier days: the endpoint takes one a second, and this is about the rest.

    A second process on the store, as the gateway allows.
    """
    auth = site.config.auth
    assert isinstance(auth, Auth)
    store = SqliteStore(site.config.store, Vault(*auth.secrets))
    clients = [f"client-{index}" for index in range(number)]
    for client_id in clients:
        grants = ("authorization_code", "refresh_token")
        client = Client(client_id, "A client", (CALLBACK,), grants, auth.scopes, None, 1_800_000_000.0)
        store.add_client(client, limit=0)
    store.close()
    return clients


async def call(site: Site, bearer: dict[str, str], tool: str) -> httpx2.Response:
    params = {"name": tool, "arguments": {}, "_meta": META}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    headers = {**MCP_HEADERS, **bearer, "Mcp-Method": "tools/call", "Mcp-Name": tool}
    return await site.http.post("/mcp", headers=headers, json=body)


@asynccontextmanager
async def person_at(site: Site) -> AsyncIterator[Site]:
    """The same gateway with a client and a browser of one's own."""
    async with (
        httpx2.AsyncClient(base_url=site.url, verify=NO_TLS, timeout=DEADLINE, trust_env=False) as http,
        httpx2.AsyncClient(verify=NO_TLS, timeout=DEADLINE, trust_env=False) as browser,
    ):
        yield dataclasses.replace(site, http=http, browser=browser, clock=Clock())


async def attend(site: Site, client_id: str, user: str) -> set[str]:
    """Log in, call, refresh, call again; returns whose data the answers held."""
    async with person_at(site) as mine:
        code = (await mine.code(client_id, user))["code"]
        login = SignedIn(client_id, (await mine.redeem(client_id, code)).json())
        seen = set()
        for _ in range(CALLS):
            seen.add(whose(await call(mine, login.bearer, "get_me")))
        fresh = await mine.refresh(client_id, login.refresh_token)
        again = SignedIn(client_id, fresh.json())
        seen.add(whose(await call(mine, again.bearer, "get_me")))
        return seen


def whose(answer: httpx2.Response) -> str:
    assert answer.status_code == 200, answer.text
    users = [
        user for user in ("learner", "mentor") if f'{user}\\"' in answer.text or f'"{user}"' in answer.text
    ]
    assert len(users) == 1, answer.text
    return users[0]


async def test_fifty_people_at_once_each_get_their_own_data(tmp_path: Path) -> None:
    async with classroom(tmp_path) as (site, running):
        clients = register_beforehand(site, PEOPLE)
        users = ["learner" if index % 2 else "mentor" for index in range(PEOPLE)]
        seen = await asyncio.gather(*(attend(site, *who) for who in zip(clients, users, strict=True)))
        assert seen == [{user} for user in users]
    log = running.log.read_text("utf-8")
    assert log.count("POST /oauth/token 200") == 2 * PEOPLE
    assert log.count("POST /mcp 200") == PEOPLE * (CALLS + 1)
    assert "unforeseen" not in log


@asynccontextmanager
async def slow_clients(port: int, number: int) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """Connections that have sent half a header, or a header and half a body, and go on byte by byte."""
    pairs = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(number)))
    writers = [writer for _, writer in pairs]
    head = f"POST /oauth/token HTTP/1.1\r\nHost: localhost:{port}\r\n"
    body = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 500\r\n\r\ngrant"
    for index, writer in enumerate(writers):
        writer.write((head + (body if index % 2 else "X-Slow: ")).encode())
    await asyncio.gather(*(writer.drain() for writer in writers))
    try:
        yield writers
    finally:
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def dribble(writers: list[asyncio.StreamWriter]) -> None:
    for writer in writers:
        writer.write(b"a")
    await asyncio.gather(*(writer.drain() for writer in writers))


async def test_two_hundred_slow_clients_keep_nobody_waiting(tmp_path: Path) -> None:
    async with classroom(tmp_path) as (site, running):
        (client_id,) = register_beforehand(site, 1)
        async with slow_clients(site.config.port, SLOW) as writers:
            for user in ("learner", "mentor"):
                # Between two rounds of dribbling a whole class hour passes for another person.
                await dribble(writers)
                assert await attend(site, client_id, user) == {user}
            await dribble(writers)
            assert not any(writer.transport.is_closing() for writer in writers)
            connections = [c for c in running.process.net_connections("tcp") if c.status == "ESTABLISHED"]
            assert len(connections) >= SLOW, "they were there all the time"
        assert await attend(site, client_id, "learner") == {"learner"}
    assert "unforeseen" not in running.log.read_text("utf-8")
