"""Our agent, and clients that we did not write, before the embedded gateway and ToolHive's real proxy."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)

from tests.clients.conftest import approver, cache, npm
from tests.clients.packages import Npm
from tests.clients.test_inspector import inspect, inspector
from tests.conformance.test_authorization_server import report_of
from tests.servers.gateway.harness import CALLBACK, NO_TLS
from tests.toolhive_real.conftest import Open
from tests.toolhive_real.differences import with_filter
from tests.toolhive_real.mcp_questions import ERAS, LEGACY
from tests.toolhive_real.places import DEADLINE, Place
from workshop.agent.approval import ApproveAs
from workshop.agent.events import ApprovalNeeded, Connected, Event, Warned
from workshop.agent.listener import LoopbackListener
from workshop.agent.loop import Agent
from workshop.agent.mcp_tools import McpTools
from workshop.agent.oauth import OAuthClient
from workshop.agent.part import Part
from workshop.agent.rehearsal import RehearsalModel
from workshop.audit.probe.report import probe
from workshop.core.paths import parts_dir
from workshop.core.ports import free_port

__all__ = ["approver", "cache", "inspector", "npm"]


FOUND_AT_TOOLHIVE = {
    "T90": "medium",  # any Host will do
    "A11": "low",  # no `iss`
    "R12": "low",  # the challenge asks for `offline_access`
    "T78": "low",  # and names an error where there was none
    "T87": "low",  # no revocation
    "T61r": "low",  # what it registers may be stored
    "H2": "info",
}


@dataclass
class Learner:
    """Part 4's agent with its stored logins; `asked` counts the logins that wanted a person."""

    place: Place
    folder: Path
    user: str = "learner"
    events: list[Event] = field(default_factory=list)

    async def ask(self, question: str | None = None) -> str:
        async with self.at_work(question) as (agent, tools):
            return await agent.ask(tools)

    @asynccontextmanager
    async def at_work(self, question: str | None = None) -> AsyncIterator[tuple[Agent, McpTools]]:
        part = Part.load(parts_dir() / "04_remote_oauth")
        agent = Agent(
            question=question or part.question,
            model=RehearsalModel(part.plans, part.question),
            approval=ApproveAs(self.user),
            logins=self.folder / self.user,
            observe=self.events.append,
        )
        url = f"{self.place.url}/mcp"
        async with LoopbackListener(free_port()) as listener:
            login = OAuthClient(
                url,
                listener=listener,
                approval=agent.approval,
                tokens=agent.tokens,
                observe=agent.observe,
            )
            async with agent.connect(url, auth=login) as client:
                yield agent, McpTools(client)

    @property
    def logins(self) -> int:
        return sum(isinstance(event, ApprovalNeeded) for event in self.events)

    @property
    def eras(self) -> set[str]:
        return {event.protocol for event in self.events if isinstance(event, Connected)}


async def test_the_agent_answers_parts_question_with_one_login(place: Place, tmp_path: Path) -> None:
    learner = Learner(place, tmp_path)
    for _ in range(2):
        answer = await learner.ask()
        assert "trail-mapper" in answer
        assert "GPX export drops the last waypoint" in answer
    assert learner.logins == 1
    assert learner.eras == {"2026-07-28"}


async def test_each_user_is_who_they_are(place: Place, tmp_path: Path) -> None:
    for user in ("learner", "mentor"):
        assert user in await Learner(place, tmp_path, user).ask("Who am I?")


async def test_the_agent_gets_over_a_restart_by_itself(place: Place, tmp_path: Path) -> None:
    learner = Learner(place, tmp_path)
    await learner.ask("Who am I?")
    place.restart()
    assert "learner" in await learner.ask("Who am I?")
    assert learner.logins == (2 if place.kind == "toolhive" else 1)  # its memory ends with the process


async def test_the_agent_gets_over_a_token_that_was_revoked_at_github(place: Place, tmp_path: Path) -> None:
    learner = Learner(place, tmp_path)
    await learner.ask("Who am I?")
    await place.revoke_at_github("learner")
    assert "learner" in await learner.ask("Who am I?")
    assert learner.logins == 2


async def test_the_agent_calls_a_renamed_tool_in_the_older_version_where_it_must(
    opened: Open, kind: str, tmp_path: Path
) -> None:
    learner = Learner(opened(kind, with_filter), tmp_path)
    async with learner.at_work() as (_, tools):
        assert {tool.name for tool in await tools.list_tools()} == {"who_am_i", "list_issues"}
        for _ in range(2):
            assert not (await tools.call_tool("who_am_i", {})).is_error
    told = [event for event in learner.events if isinstance(event, Warned)]
    assert len(told) == (1 if kind == "toolhive" else 0)


class Memory:
    """Where the SDK's client keeps what it gets."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


@asynccontextmanager
async def sdk_client(place: Place, memory: Memory, era: str) -> AsyncIterator[Client]:
    """The SDK's own OAuth client, with none of our repairs; a browser that approves is all we lend it."""
    arrived: list[dict[str, str]] = []

    async def redirect(url: str) -> None:
        async with place.visitor() as visitor:
            arrived.append(await visitor.approve(url))

    async def answered() -> AuthorizationCodeResult:
        return AuthorizationCodeResult.model_validate(arrived[-1])

    told = {"client_name": "An SDK client", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"}
    metadata = OAuthClientMetadata.model_validate(told)
    auth = OAuthClientProvider(f"{place.url}/mcp", metadata, memory, redirect, answered)
    async with (
        httpx2.AsyncClient(auth=auth, verify=NO_TLS, trust_env=False, timeout=DEADLINE) as http,
        Client(
            streamable_http_client(f"{place.url}/mcp", http_client=http),
            mode="legacy" if era == LEGACY else era,
        ) as client,
    ):
        yield client


@pytest.mark.parametrize("era", ERAS)
async def test_the_sdks_own_client_logs_in_and_refreshes(place: Place, era: str) -> None:
    memory = Memory()
    async with sdk_client(place, memory, era) as client:
        assert client.protocol_version == era
        assert "get_me" in [tool.name for tool in (await client.list_tools()).tools]
    first = memory.tokens
    assert first
    assert first.refresh_token
    memory.tokens = first.model_copy(update={"access_token": "no.longer.good", "expires_in": -1})
    async with sdk_client(place, memory, era) as client:
        assert not (await client.call_tool("get_me", {})).is_error
    assert memory.tokens.access_token not in {first.access_token, "no.longer.good"}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_the_inspector_logs_in_and_calls_a_tool(
    npm: Npm, place: Place, inspector: dict[str, str], era: str
) -> None:
    called = await inspect(
        npm,
        place.url,
        *("--protocol-era", era, "--method", "tools/call", "--tool-name", "get_me"),
        environment=inspector,
    )
    assert called.status == 0, called.errors
    (content,) = json.loads(called.output)["result"]["content"]
    assert json.loads(content["text"])["login"] == "learner"


@pytest.mark.timeout(400)
async def test_the_conformance_suite_passes_the_authorization_server(npm: Npm, place: Place) -> None:
    assert "0 failed" in await report_of(npm, place.url)


def test_the_probe_finds_this_and_no_more(place: Place) -> None:
    report = probe(f"{place.url}/mcp")
    found = {finding.id: str(finding.severity) for finding in report.findings}
    assert found == {"gateway": {}, "toolhive": FOUND_AT_TOOLHIVE}[place.kind]
