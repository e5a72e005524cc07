"""The identity provider as a process, the agent's own login at it, and a resource that verifies."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from tests.environment import forked
from tests.fork_server import ForkedProcess
from tests.servers.gateway.harness import DEADLINE, NO_TLS, served
from tests.servers.identity.provider import settings
from workshop.agent.approval import ApproveAs
from workshop.agent.events import ApprovalNeeded, Event, ResourceDiscovered
from workshop.agent.listener import LoopbackListener
from workshop.agent.oauth import OAuthClient
from workshop.agent.token_store import TokenStore
from workshop.auth.guards import BearerGuard, caller_of
from workshop.auth.outside_tokens import OutsideIssuer, OutsideTokens
from workshop.core.ports import free_port


def provider(path: Path) -> ForkedProcess:
    words = ("-m", "workshop.servers.identity", "--config", str(path))
    return forked(
        *words, folder=path.parent, imports=("workshop.core.serving", "workshop.servers.identity.app")
    )


@asynccontextmanager
async def process(path: Path) -> AsyncIterator[list[str]]:
    """The provider; gives the lines of its log, which is whole after the end."""
    log: list[str] = []
    with provider(path) as started:
        assert started.stderr is not None
        while "startup complete" not in "".join(log):
            log.append(await asyncio.to_thread(started.stderr.readline))
            assert log[-1], "".join(log)
        yield log
        started.kill()
        log.append(started.communicate(timeout=DEADLINE)[1])


async def whoami(scope: Scope, receive: Receive, send: Send) -> None:
    caller = caller_of(scope)
    seen = {"name": caller.name, "login": caller.claims["preferred_username"]}
    await JSONResponse(seen)(scope, receive, send)


def configured(folder: Path, **changes: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(settings(folder, **changes)))
    return path


async def test_the_agent_signs_in_there_for_a_resource_elsewhere(tmp_path: Path) -> None:
    home, issuer = f"http://localhost:{free_port()}", f"http://localhost:{free_port()}"
    resource, events = f"{home}/mcp", list[Event]()
    path = configured(tmp_path, port=httpx2.URL(issuer).port, resource=resource)
    outside = OutsideIssuer(issuer, resource, jwks_uri=f"{issuer}/.well-known/jwks.json")
    guard = BearerGuard(whoami, OutsideTokens(outside), resource)
    async with (
        process(path) as log,
        served(guard, httpx2.URL(home).port or 0),
        LoopbackListener(free_port()) as listener,
    ):
        login = OAuthClient(
            resource,
            listener=listener,
            approval=ApproveAs("mentor"),
            tokens=TokenStore(tmp_path / "logins"),
            observe=events.append,
            approval_seconds=DEADLINE,
        )
        async with httpx2.AsyncClient(verify=NO_TLS, auth=login, timeout=DEADLINE) as http:
            answers = [await http.post(resource) for _ in range(2)]
    assert [answer.json() for answer in answers] == [{"name": "Max Mentor", "login": "mentor"}] * 2
    assert [(e.resource, e.issuer) for e in events if isinstance(e, ResourceDiscovered)] == [
        (resource, issuer)
    ]
    [asked] = [event.url for event in events if isinstance(event, ApprovalNeeded)]
    [kept] = TokenStore(tmp_path / "logins").all()
    assert kept.tokens is not None
    secrets = [kept.tokens.access_token, kept.tokens.refresh_token or "", httpx2.URL(asked).params["state"]]
    assert all(secrets)
    assert not [secret for secret in [*secrets, "hhhh"] if secret in "".join(log)]
    assert "POST /login 303" in "".join(log)
    assert "code issued" in "".join(log)


def test_a_wrong_configuration_is_reported_in_plain_lines(tmp_path: Path) -> None:
    path = configured(tmp_path, port=free_port(), resource="no address")
    with provider(path) as started:
        _, errors = started.communicate(timeout=DEADLINE)
    assert started.returncode == 2
    assert errors.startswith("Error: The configuration is wrong at `resource`\n")
    assert "Traceback" not in errors
