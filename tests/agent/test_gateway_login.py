"""The whole login against our gateway and the practice GitHub, over HTTP, with the MCP client on top."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import anyio
import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from workshop.agent.approval import Approval, ApproveAs
from workshop.agent.events import ApprovalNeeded, Connected, Event
from workshop.agent.listener import LoopbackListener
from workshop.agent.loop import Agent
from workshop.agent.mcp_tools import McpTools
from workshop.agent.oauth import OAuthClient
from workshop.agent.part import Part
from workshop.agent.rehearsal import RehearsalModel
from workshop.core.browser import following, press
from workshop.core.errors import CredentialsError
from workshop.core.paths import parts_dir
from workshop.core.ports import free_port
from workshop.servers.gateway import app as gateway_app
from workshop.servers.gateway import config as gateway_config
from workshop.servers.practice.app import create_app as create_practice
from workshop.servers.practice.config import PracticeConfig

SECRET = "practice-client-secret"


async def ask_behind_login(agent: Agent, url: str, callback: int) -> str:
    """The agent's answer from a server behind a login, which ends at `callback`, a port of this machine."""
    async with LoopbackListener(callback) as listener:
        login = OAuthClient(
            url,
            listener=listener,
            approval=agent.approval,
            tokens=agent.tokens,
            observe=agent.observe,
            approval_seconds=60,
        )
        async with agent.connect(url, auth=login) as client:
            return await agent.ask(McpTools(client))


@dataclass
class Scenario:
    """A practice GitHub, a gateway in front of it that can be restarted, and one learner's agent."""

    folder: Path
    serve: Any
    practice_url: str = ""
    gateway_port: int = 0
    events: list[Event] = field(default_factory=list)
    stores: int = 0

    @property
    def url(self) -> str:
        return f"http://localhost:{self.gateway_port}/mcp"

    @contextlib.asynccontextmanager
    async def gateway(self, *, access_seconds: int = 3600) -> AsyncIterator[None]:
        path = self.folder / "gateway.json"
        path.write_text(json.dumps(self._gateway_config(access_seconds)))
        app = gateway_app.create_app(gateway_config.load(path))
        async with self.serve(app, self.gateway_port):
            yield

    def lose_the_store(self) -> None:
        self.stores += 1

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    async def ask(
        self, user: str = "learner", question: str | None = None, approval: Approval | None = None
    ) -> str:
        part = Part.load(parts_dir() / "04_remote_oauth")
        agent = Agent(
            question=question or part.question,
            model=RehearsalModel(part.plans, part.question),
            approval=approval or ApproveAs(user),
            logins=self.folder / "logins",
            observe=self.events.append,
        )
        return await ask_behind_login(agent, self.url, free_port())

    def _gateway_config(self, access_seconds: int) -> dict[str, Any]:
        origin, practice = f"http://localhost:{self.gateway_port}", self.practice_url
        return {
            "name": "github-remote",
            "port": self.gateway_port,
            "remote_url": f"{practice}/mcp/",
            "store": str(self.folder / f"store-{self.stores}.sqlite"),
            "auth": {
                "issuer": origin,
                "audience": f"{origin}/",
                "resource_url": f"{origin}/",
                "scopes": ["openid", "profile", "email", "offline_access"],
                "signing_key_files": [str(self._file("signing-key.pem", _signing_key()))],
                "hmac_files": [str(self._file("hmac", b"h" * 32))],
                "access_token_seconds": access_seconds,
                "upstream": {
                    "name": "github",
                    "authorization_endpoint": f"{practice}/login/oauth/authorize",
                    "token_endpoint": f"{practice}/login/oauth/access_token",
                    "client_id": "practice-workshop-app",
                    "client_secret_file": str(self._file("client-secret", SECRET.encode())),
                    "redirect_uri": f"{origin}/oauth/callback",
                    "scopes": ["repo", "read:user"],
                    "userinfo": {
                        "url": f"{practice}/user",
                        "subject_fields": ["id", "login"],
                        "name_fields": ["name", "login"],
                    },
                },
            },
        }

    def _file(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        if not path.exists():
            path.write_bytes(content)
        return path


def _signing_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture
async def scenario(tmp_path: Path, serve: Any) -> AsyncIterator[Scenario]:
    gateway_port, practice_port = free_port(), free_port()
    config = PracticeConfig(
        port=practice_port,
        client_id="practice-workshop-app",
        client_secret=SECRET,
        callback_url=f"http://localhost:{gateway_port}/oauth/callback",
        app_name="MCP workshop",
    )
    async with serve(create_practice(config), practice_port) as url:
        yield Scenario(tmp_path, serve, url, gateway_port)


async def test_the_first_run_logs_in_once_and_answers(scenario: Scenario) -> None:
    async with scenario.gateway():
        answer = await scenario.ask()
    assert "trail-mapper" in answer
    assert "#42: GPX export drops the last waypoint" in answer
    assert scenario.kinds().count("ApprovalNeeded") == 1


async def test_the_second_example_question_is_answered_too(scenario: Scenario) -> None:
    async with scenario.gateway():
        answer = await scenario.ask(question="Which of my repositories has the most open issues?")
    assert answer == "trail-mapper has the most open issues: 4"


async def test_the_second_run_needs_no_approval(scenario: Scenario) -> None:
    async with scenario.gateway():
        await scenario.ask()
        await scenario.ask()
    assert scenario.kinds().count("ApprovalNeeded") == 1
    assert "LoginReused" in scenario.kinds()


async def test_after_a_restart_of_the_gateway_an_expired_token_is_refreshed(scenario: Scenario) -> None:
    async with scenario.gateway():
        await scenario.ask()
    (path,) = (scenario.folder / "logins").glob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"expires_at": 1}))
    async with scenario.gateway():
        assert "trail-mapper" in await scenario.ask()
    assert scenario.kinds().count("ApprovalNeeded") == 1
    assert "TokenRefreshed" in scenario.kinds()


async def test_a_gateway_that_lost_its_store_asks_once_and_works(scenario: Scenario) -> None:
    async with scenario.gateway():
        await scenario.ask()
    scenario.lose_the_store()
    async with scenario.gateway():
        assert "trail-mapper" in await scenario.ask()
        assert scenario.kinds().count("ClientRegistered") == 2
        before = len(scenario.events)
        await scenario.ask()
    assert "ApprovalNeeded" not in scenario.kinds()[before:]


async def test_t92_the_practice_github_never_sees_the_agents_own_token(scenario: Scenario) -> None:
    async with scenario.gateway():
        await scenario.ask()
    async with httpx2.AsyncClient() as http:
        seen = (await http.get(f"{scenario.practice_url}/practice/requests")).text
    (path,) = (scenario.folder / "logins").glob("*.json")
    tokens = json.loads(path.read_text())["tokens"]
    assert tokens["access_token"] not in seen
    assert tokens["refresh_token"] not in seen


async def test_an_unknown_practice_user_is_reported(scenario: Scenario) -> None:
    async with scenario.gateway():
        with pytest.raises(CredentialsError, match="no practice user 'nobody'") as caught:
            await scenario.ask("nobody")
    assert "learner" in caught.value.hint


async def test_the_address_to_approve_at_is_the_gateways_own(scenario: Scenario) -> None:
    async with scenario.gateway():
        await scenario.ask()
    (asked,) = [event for event in scenario.events if isinstance(event, ApprovalNeeded)]
    assert asked.url.startswith(f"http://localhost:{scenario.gateway_port}/oauth/authorize?")
    assert (asked.way, asked.user) == ("practice user", "learner")


async def test_a_registration_made_with_another_callback_port_still_serves(scenario: Scenario) -> None:
    """RFC 8252 section 7.3: the port of a loopback redirect URI may change; each run here has its own."""
    async with scenario.gateway():
        await scenario.ask()
        (path,) = (scenario.folder / "logins").glob("*.json")
        path.write_text(json.dumps({**json.loads(path.read_text()), "tokens": None}))
        assert "trail-mapper" in await scenario.ask()
    assert scenario.kinds().count("ClientRegistered") == 1
    assert scenario.kinds().count("ApprovalNeeded") == 2


async def test_a_second_login_only_authorizes_and_asks_for_the_token(
    scenario: Scenario, caplog: pytest.LogCaptureFixture
) -> None:
    """The documents may still be used (Cache-Control), the registration is known, and nothing is probed."""
    async with scenario.gateway():
        await scenario.ask()
        (path,) = (scenario.folder / "logins").glob("*.json")
        path.write_text(json.dumps({**json.loads(path.read_text()), "tokens": None}))
        with caplog.at_level("INFO", "workshop.gateway.requests"):
            await scenario.ask()
    seen = [record.getMessage().split()[:2] for record in caplog.records if "/mcp" not in record.getMessage()]
    assert [" ".join(words) for words in seen if words[0] in {"GET", "POST"}] == [
        "GET /oauth/authorize",
        "POST /oauth/consent",
        "GET /oauth/callback",
        "POST /oauth/token",
    ]


async def test_a_gateway_that_forgot_the_agent_is_registered_with_again(scenario: Scenario) -> None:
    async with scenario.gateway():
        await scenario.ask()
    (path,) = (scenario.folder / "logins").glob("*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "tokens": None}))
    scenario.lose_the_store()
    async with scenario.gateway():
        assert "trail-mapper" in await scenario.ask()
    assert scenario.kinds().count("ClientForgotten") == 1
    assert scenario.kinds().count("ClientRegistered") == 2


async def test_a_grant_withdrawn_at_the_upstream_is_asked_for_again(scenario: Scenario) -> None:
    async with scenario.gateway():
        await scenario.ask()
        async with httpx2.AsyncClient(headers={"X-Practice-Control": "1"}) as http:
            fault = {"fault": "revoked", "user": "learner"}
            answer = await http.post(f"{scenario.practice_url}/practice/faults", json=fault)
        assert answer.status_code == 200, answer.text
        assert "trail-mapper" in await scenario.ask()
    assert scenario.kinds().count("ApprovalNeeded") == 2


@dataclass(frozen=True)
class Deny:
    """A person who presses the other button."""

    way: Literal["printed"] = "printed"
    user: str = ""

    async def start(self, url: str) -> None:
        async with httpx2.AsyncClient() as browser:
            denied = press(browser, await browser.get(url), ("decision", "deny"))
            assert denied
            callback = following(await browser.send(denied))
            assert callback
            await browser.send(callback)


async def test_a_person_who_denies_ends_the_run_with_the_credentials_exit_code(scenario: Scenario) -> None:
    async with scenario.gateway():
        with pytest.raises(CredentialsError, match="not approved") as caught:
            await scenario.ask(approval=Deny())
    assert caught.value.exit_code == 4


async def test_a_person_may_take_longer_than_any_request_may(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK stops a request's clock while its login waits on a person; ours must keep that."""

    class AnHourLater(ApproveAs):
        async def start(self, url: str) -> None:
            loop = asyncio.get_running_loop()
            now = loop.time
            monkeypatch.setattr(loop, "time", lambda: now() + 3600)
            await anyio.lowlevel.checkpoint()
            await super().start(url)

    async with scenario.gateway():
        assert "trail-mapper" in await scenario.ask(approval=AnHourLater("learner"))
    # A first request that timed out would have fallen back to the older handshake.
    assert [event.protocol for event in scenario.events if isinstance(event, Connected)] == ["2026-07-28"]
