"""The gateway benchmark's handshake: a whole login with our agent's OAuth client, nobody at the keyboard."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx2

from tests.benchmarks.gateway_load import Target
from tests.benchmarks.gateway_paths import TOOLHIVE, Server
from tests.servers.gateway.harness import DISCOVER, MCP_HEADERS, NO_TLS, PRACTICE_SECRET
from workshop.agent.approval import Approval, ApproveAs
from workshop.agent.listener import LoopbackListener
from workshop.agent.oauth import OAuthClient
from workshop.agent.token_store import TokenStore
from workshop.core.browser import following, press
from workshop.core.ports import free_port
from workshop.servers.practice.tokens import Tokens

_BUTTONS = (("decision", "approve"), ("action", "approve"), ("user", "learner"))


@dataclass(frozen=True)
class PressAnyApproval:
    """Approves on the peer's consent page, which names its button differently."""

    way: Literal["printed"] = "printed"
    user: str = ""

    async def start(self, url: str) -> None:
        async with httpx2.AsyncClient(verify=NO_TLS) as browser:
            response = await browser.get(url)
            while onward := following(response) or press(browser, response, *_BUTTONS):
                response = await browser.send(onward)


@dataclass(frozen=True)
class Handshake:
    """Milliseconds from the first request to its answer, and the requests the server saw on the way."""

    milliseconds: float
    cpu: float
    """Milliseconds of processor time that it cost the server's process."""
    requests: tuple[str, ...]


class Attendee:
    """One agent with its stored logins."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self._folder = folder
        practised = server.name in {"ours", TOOLHIVE}
        self._approval: Approval = ApproveAs("learner") if practised else PressAnyApproval()

    async def log_in(self) -> Handshake:
        """Log in and call; the second time the registration is still known, the tokens are not."""
        self._forget_tokens()
        before = len(self.server.requests())
        async with self._http() as http:
            cpu, began = self.server.cpu_seconds(), time.perf_counter()
            answer = await http.post(f"{self.server.url}/mcp", json=DISCOVER)
            milliseconds = (time.perf_counter() - began) * 1000
            cpu = (self.server.cpu_seconds() - cpu) * 1000
        if not answer.is_success:
            raise SystemExit(f"{self.server.name} answered {answer.status_code}: {answer.text[:500]}")
        requests = await asyncio.to_thread(self.server.requests)
        return Handshake(milliseconds, cpu, tuple(requests[before:]))

    async def target(self) -> Target:
        """The endpoint with a token of a fresh login."""
        await self.log_in()
        (path,) = self._folder.glob("*.json")
        token = json.loads(path.read_text(encoding="utf-8"))["tokens"]["access_token"]
        return Target(self.server.name, f"{self.server.url}/mcp", token)

    @asynccontextmanager
    async def _http(self) -> AsyncIterator[httpx2.AsyncClient]:
        async with LoopbackListener(free_port()) as listener:
            auth = OAuthClient(
                f"{self.server.url}/mcp",
                listener=listener,
                approval=self._approval,
                tokens=TokenStore(self._folder),
            )
            async with httpx2.AsyncClient(auth=auth, headers=MCP_HEADERS, verify=NO_TLS, timeout=30) as http:
                yield http

    def _forget_tokens(self) -> None:
        for path in self._folder.glob("*.json"):
            login = json.loads(path.read_text(encoding="utf-8"))
            path.write_text(json.dumps({**login, "tokens": None}), encoding="utf-8")


def direct_target(upstream: Server) -> Target:
    """The upstream itself, with a token such as its OAuth app gets."""
    return Target(upstream.name, f"{upstream.url}/mcp", Tokens(PRACTICE_SECRET).issue("learner", ("repo",)))
