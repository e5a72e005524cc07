"""Our agent and our checks before ToolHive's proxy: of 0.63.0, which asks for consent, and of 0.44.0."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.agent.test_gateway_login import ask_behind_login
from tests.lab.cluster.fake_toolhive import APP, SECRET, ToolHive
from tests.serving import serve
from workshop.agent.approval import ApproveAs
from workshop.agent.connect import connect
from workshop.agent.events import ApprovalNeeded, Connected, Event
from workshop.agent.loop import Agent
from workshop.agent.part import Part
from workshop.agent.rehearsal import RehearsalModel
from workshop.audit.compare.client import follow_login
from workshop.core.browser import following, press
from workshop.core.paths import parts_dir
from workshop.core.ports import free_port
from workshop.lab.cluster.checks import after_login, before_login
from workshop.lab.cluster.endpoint_checks import ProxyContract, ToolCall
from workshop.servers.practice.app import create_app
from workshop.servers.practice.config import PracticeConfig

QUESTION = "Who am I?"


@dataclass
class Scenario:
    """A learner's agent, the proxy, and the practice GitHub behind it."""

    proxy: ToolHive
    folder: Path
    events: list[Event] = field(default_factory=list)
    callback: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"{self.proxy.url}/mcp"

    def count(self, kind: type[Event]) -> int:
        return sum(isinstance(event, kind) for event in self.events)

    async def ask(self, question: str = QUESTION) -> str:
        part = Part.load(parts_dir() / "04_remote_oauth")
        agent = Agent(
            question=question,
            model=RehearsalModel(part.plans, part.question),
            approval=ApproveAs("learner"),
            logins=self.folder / "logins",
            observe=self.events.append,
        )
        return await ask_behind_login(agent, self.url, self.callback)

    def stored(self) -> dict[str, Any]:
        (path,) = (self.folder / "logins").glob("*.json")
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def contract(self) -> ProxyContract:
        return ProxyContract(
            name="github-remote",
            namespace="toolhive-system",
            base_url=self.proxy.url,
            issuer=self.proxy.url,
            resource=f"{self.proxy.url}/",
            algorithms={self.proxy.kid: "ES256"},
        )


@pytest.fixture(params=[True, False], ids=["0.63.0", "0.44.0"])
async def scenario(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scenario]:
    """The proxy at the port that its issuer names."""
    proxy = ToolHive("", "", consents=request.param)
    async with serve(proxy.app()) as url:
        proxy.url = url
        config = PracticeConfig(
            port=free_port(),
            client_id=APP,
            client_secret=SECRET,
            callback_url=f"{url}/oauth/callback",
            app_name="MCP workshop",
        )
        async with serve(create_app(config), config.port) as practice:
            proxy.practice = practice
            yield Scenario(proxy, tmp_path)


async def test_a_login_goes_through_a_consent_page_where_there_is_one(scenario: Scenario) -> None:
    assert await scenario.ask() == "You are learner"
    consent = ["consent"] if scenario.proxy.consents else []
    assert scenario.proxy.seen == ["register", "authorize", *consent, "callback", "authorization_code"]
    await scenario.ask()
    assert scenario.count(ApprovalNeeded) == 1


async def test_the_checks_before_and_after_a_login_pass(scenario: Scenario) -> None:
    results = await before_login(scenario.contract())
    assert all(result.passed for result in results), results[-1]
    await scenario.ask()
    token = scenario.stored()["tokens"]["access_token"]
    results = await after_login(scenario.contract(), token, ToolCall("get_me", {}, '"learner"'))
    assert all(result.passed for result in results), results[-1]


async def test_compare_follows_the_login_to_its_code(scenario: Scenario) -> None:
    callback = f"http://localhost:{free_port()}/callback"
    async with httpx2.AsyncClient() as http:
        metadata = {"client_name": "compare", "redirect_uris": [callback]}
        client = (await http.post(f"{scenario.proxy.url}/oauth/register", json=metadata)).json()
    query = {
        "client_id": client["client_id"],
        "redirect_uri": callback,
        "state": "s",
        "code_challenge": "c",
        "resource": f"{scenario.proxy.url}/",
    }
    login = await follow_login(
        f"{scenario.proxy.url}/oauth/authorize?{httpx2.QueryParams(query)}", callback, "compare"
    )
    assert login.code, login.refused
    *before, _ = [page.path for page in login.pages or ()]
    assert before == (["/oauth/authorize"] if scenario.proxy.consents else [])


async def test_a_new_pod_has_forgotten_everyone_and_the_agent_registers_and_logs_in_again(
    scenario: Scenario,
) -> None:
    await scenario.ask()
    before = scenario.stored()
    scenario.proxy.restart()
    scenario.proxy.seen.clear()
    assert await scenario.ask() == "You are learner"
    consent = ["consent"] if scenario.proxy.consents else []
    again = ["register", "authorize", *consent, "callback", "authorization_code"]
    assert scenario.proxy.seen == ["refresh_token", *again]
    assert scenario.stored()["client"]["client_id"] != before["client"]["client_id"]
    assert scenario.count(ApprovalNeeded) == 2


async def test_a_new_pod_whose_refresh_token_is_gone_too_is_registered_with_again(scenario: Scenario) -> None:
    """Authorize answers the old client id with 401 then, and the browser never comes back."""
    await scenario.ask()
    (path,) = (scenario.folder / "logins").glob("*.json")
    path.write_text(json.dumps({**scenario.stored(), "tokens": None}))
    scenario.proxy.restart()
    assert await scenario.ask() == "You are learner"
    assert list(scenario.proxy.clients) == [scenario.stored()["client"]["client_id"]]


async def test_a_token_withdrawn_at_github_is_refreshed_once_and_then_logged_in_for(
    scenario: Scenario,
) -> None:
    """The proxy does not notice: it goes on refreshing, and GitHub's 401 comes back for ever."""
    await scenario.ask()
    async with httpx2.AsyncClient(headers={"X-Practice-Control": "1"}) as http:
        fault = {"fault": "revoked", "user": "learner"}
        assert (await http.post(f"{scenario.proxy.practice}/practice/faults", json=fault)).is_success
    scenario.proxy.seen.clear()
    assert await scenario.ask() == "You are learner"
    consent = ["consent"] if scenario.proxy.consents else []
    assert scenario.proxy.seen == ["refresh_token", "authorize", *consent, "callback", "authorization_code"]
    assert scenario.count(ApprovalNeeded) == 2


@pytest.mark.parametrize("scenario", [True], indirect=True, ids=["0.63.0"])
async def test_a_login_that_somebody_else_began_ends_at_the_consent_page(scenario: Scenario) -> None:
    """Also a double has to refuse, or it proves nothing: no cookie, no login."""
    await scenario.ask()
    asked = next(event for event in scenario.events if isinstance(event, ApprovalNeeded))
    async with httpx2.AsyncClient() as first, httpx2.AsyncClient() as second:
        page = await first.get(asked.url)
        form = press(second, page, ("decision", "approve"))
        assert form
        refused = await second.send(form)
        assert (refused.status_code, following(refused)) == (400, None)
        own = press(first, page, ("decision", "approve"))
        assert own
        assert following(await first.send(own)) is not None


async def test_every_message_of_ours_is_one_envelope_without_a_null(scenario: Scenario) -> None:
    """0.63.0 answers batches, `params: null` and odd ids with 400, whatever the era."""
    assert "trail-mapper" in await scenario.ask("Which of my repositories has the most open issues?")
    token = scenario.stored()["tokens"]["access_token"]
    await after_login(scenario.contract(), token, ToolCall("get_me", {}))  # in 2025-11-25
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(scenario.url, headers=headers, observe=scenario.events.append) as client:
        assert client.protocol_version == "2026-07-28"
        await client.call_tool("get_me")
        await client.list_tools()
    assert {message["method"] for message in scenario.proxy.posts} >= {
        "server/discover",
        "initialize",
        "notifications/initialized",
        "tools/list",
        "tools/call",
    }
    for message in scenario.proxy.posts:
        assert None not in message.values(), message
        assert isinstance(message.get("params", {}), dict), message
        assert type(message.get("id", 0)) in (int, str), message
    assert scenario.count(Connected) == 2
