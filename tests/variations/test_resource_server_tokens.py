"""Whose tokens the running resource server takes: the practice identity provider's, and only for itself."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.variations.resource_servers import ask
from workshop.agent.approval import ApproveAs
from workshop.agent.events import ApprovalNeeded, Event
from workshop.agent.loop import Agent
from workshop.agent.part import Part
from workshop.agent.rehearsal import RehearsalModel
from workshop.agent.run import load_answer
from workshop.course.lessons import find_variation
from workshop.course.variation_run import Running, variation_running

PARAMETER = re.compile(r'(\w+)="([^"]*)"')


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Both processes, as `workshop part 4 run --variation resource-server` starts them."""
    with variation_running(find_variation("resource-server"), tmp_path_factory.mktemp("variation")) as found:
        yield found


@pytest.fixture
def events() -> list[Event]:
    return []


async def answered(running: Running, logins: Path, events: list[Event]) -> str:
    """The part's own agent, with its `main.py` unchanged."""
    variation = running.variation
    part = Part.load(variation.directory)
    endpoints = running.agent_endpoints()
    agent = Agent(
        question=part.question,
        model=RehearsalModel(part.plans, part.question),
        approval=ApproveAs("learner"),
        logins=logins,
        endpoints=endpoints.urls,
        observe=events.append,
    )
    return await load_answer(variation.part.directory)(agent)


def identity(running: Running) -> str:
    return running.endpoints["resource-server-identity"]


def signed(
    running: Running, *, key: ECKey | None = None, header: dict[str, Any] | None = None, **changes: Any
) -> str:
    """A token as the identity provider would sign it: with its own key, unless another is given."""
    own = ECKey.import_key(running.secret("signing-key"))
    with httpx2.Client(trust_env=False) as http:
        (listed,) = http.get(f"{identity(running)}/.well-known/jwks.json").json()["keys"]
    now = int(time.time())
    claims = {
        "iss": identity(running),
        "sub": "practice-1",
        "aud": [running.url],
        "exp": now + 300,
        "iat": now,
        "client_id": "agent",
        "scope": "openid issues:read",
        **changes,
    }
    named = {"alg": "ES256", "typ": "at+jwt", "kid": listed["kid"], **(header or {})}
    given = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(named, given, key or own, algorithms=["ES256"])


def challenge(response: httpx2.Response) -> dict[str, str]:
    return dict(PARAMETER.findall(response.headers["www-authenticate"]))


async def test_the_agent_of_part_4_logs_in_at_the_provider_and_answers(
    running: Running, tmp_path: Path, events: list[Event]
) -> None:
    answer = await answered(running, tmp_path / "logins", events)
    assert [fact for fact in running.variation.contents.expect if fact not in answer] == []
    (asked,) = [event for event in events if isinstance(event, ApprovalNeeded)]
    assert asked.url.startswith(f"{identity(running)}/oauth/authorize?")
    before = len(events)
    await answered(running, tmp_path / "logins", events)
    assert not [event for event in events[before:] if isinstance(event, ApprovalNeeded)]


async def test_its_token_is_for_this_server_with_the_scope_that_was_challenged_for(
    running: Running, tmp_path: Path, events: list[Event]
) -> None:
    await answered(running, tmp_path / "logins", events)
    (path,) = (tmp_path / "logins").glob("*.json")
    token = json.loads(path.read_text())["tokens"]["access_token"]
    claims = jwt.decode(token, ECKey.import_key(running.secret("signing-key")), algorithms=["ES256"]).claims
    assert (claims["iss"], claims["aud"]) == (identity(running), [running.url])
    assert "issues:read" in claims["scope"].split()
    assert (await ask(running.url, token)).status_code == 200


async def test_without_a_token_the_challenge_names_no_error_and_reports_where_to_go_on(
    running: Running,
) -> None:
    response = await ask(running.url)
    told = challenge(response)
    assert response.status_code == 401
    assert "error" not in told
    assert told["scope"] == "issues:read"
    async with httpx2.AsyncClient(trust_env=False) as http:
        document = (await http.get(told["resource_metadata"])).json()
    assert document["resource"] == running.url
    assert document["authorization_servers"] == [identity(running)]
    assert document["scopes_supported"] == ["issues:read"]


async def test_a_token_as_the_provider_signs_it_is_taken(running: Running) -> None:
    """Or the refusals below would prove nothing."""
    response = await ask(running.url, signed(running))
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["http://localhost:9999/mcp"]},
        {"aud": None},
        {"iss": "http://localhost:9999"},
        {"exp": 1_700_000_000},
        {"exp": None},
        {"nbf": 4_000_000_000},
        {"sub": None},
    ],
    ids=lambda changes: f"{next(iter(changes))} {next(iter(changes.values()))}",
)
async def test_a_token_for_another_of_another_or_of_another_time_is_refused(
    running: Running, changes: dict[str, Any]
) -> None:
    response = await ask(running.url, signed(running, **changes))
    assert (response.status_code, challenge(response)["error"]) == (401, "invalid_token")


async def test_a_token_for_the_origin_is_not_one_for_the_server_there(running: Running) -> None:
    origin = running.url.removesuffix("/mcp")
    for audience in (origin, f"{origin}/", f"{running.url}/", running.url.replace("localhost", "127.0.0.1")):
        assert (await ask(running.url, signed(running, aud=[audience]))).status_code == 401


async def test_a_forged_token_is_refused(running: Running) -> None:
    stranger = ECKey.generate_key("P-256")
    real = signed(running)
    head, body, signature = real.split(".")
    for forged in (signed(running, key=stranger), f"{head}.{body}.", f"{head}.{body}.{signature[::-1]}", "x"):
        response = await ask(running.url, forged)
        assert (response.status_code, challenge(response)["error"]) == (401, "invalid_token")


async def test_without_the_scope_it_is_403_and_the_scope_is_named(running: Running) -> None:
    response = await ask(running.url, signed(running, scope="openid profile"))
    told = challenge(response)
    assert (response.status_code, told["error"], told["scope"]) == (403, "insufficient_scope", "issues:read")
    assert told["resource_metadata"]


async def test_a_token_in_the_address_is_refused(running: Running) -> None:
    response = await ask(f"{running.url}?access_token={signed(running)}")
    assert response.status_code == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/oauth/token"),
        ("POST", "/oauth/register"),
        ("GET", "/oauth/authorize"),
        ("GET", "/.well-known/oauth-authorization-server"),
        ("GET", "/.well-known/openid-configuration"),
        ("GET", "/.well-known/jwks.json"),
    ],
)
async def test_it_has_nothing_that_could_issue_a_token(running: Running, method: str, path: str) -> None:
    url = running.url.removesuffix("/mcp") + path
    headers = {"Authorization": f"Bearer {signed(running)}"}
    async with httpx2.AsyncClient(trust_env=False) as http:
        assert (await http.request(method, url, headers=headers)).status_code == 404


async def test_a_session_stays_with_whoever_began_it(running: Running) -> None:
    client = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "x", "version": "1"},
    }
    opening = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client}
    listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}
    async with httpx2.AsyncClient(trust_env=False, headers=headers) as http:

        async def send(body: dict[str, Any], session: str = "", **changes: Any) -> httpx2.Response:
            named = {"Mcp-Session-Id": session} if session else {}
            token = {"Authorization": f"Bearer {signed(running, **changes)}"}
            return await http.post(running.url, json=body, headers={**named, **token})

        session = (await send(opening)).headers["mcp-session-id"]
        assert (await send(listing, session)).status_code == 200
        assert (await send(listing, session, sub="practice-2")).status_code == 404
        assert (await send(listing, session, client_id="another")).status_code == 404


async def test_another_host_or_a_foreign_page_does_not_get_in(running: Running) -> None:
    token = signed(running)
    assert (await ask(running.url, token, Host="attacker.example")).status_code == 421
    assert (await ask(running.url, token, Origin="https://attacker.example")).status_code == 403


async def test_no_token_is_in_the_log(running: Running) -> None:
    token = signed(running)
    await ask(running.url, token)
    await ask(running.url, token[:-4])
    log = (running.directory / "resource-server" / "log.txt").read_text()
    assert token.split(".")[1] not in log
