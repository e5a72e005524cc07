"""The clients of other people, what they connect to, and a browser that approves for them."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.clients.packages import Npm
from tests.clients.relay import relayed
from tests.environment import IsolatedInstance
from workshop.agent.practice_browser import approve_login

_LISTENING_SECONDS = 60
# What each server's tool answers for the practice user `learner` holds the second word.
TOOLS = {
    "github-remote": ("get_me", "Lea Lerner"),
    "worker": ("get_user_info", "Lea Lerner"),
    "elicitation": ("GitHubTarget___getUserProfile", "Lea Lerner"),
    "resource-server": ("list_repositories", "trail-mapper"),
    "prefix-gateway": ("github_get_me", "Lea Lerner"),
}


@dataclass(frozen=True)
class Server:
    """An MCP server that wants a login: part 4, or a variation; and a tool that says who asks."""

    name: str
    url: str
    tool: str
    answer: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        return self.url.removesuffix("/mcp")


@pytest.fixture(scope="session")
def cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where packages stay for the next session: more than half a gigabyte."""
    kept = request.config.cache
    return kept.mkdir("clients") if kept else tmp_path_factory.mktemp("clients")


@pytest.fixture(scope="session")
def npm(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Npm:
    """The programs of npm's packages, installed when a test first needs them."""
    return Npm(cache, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def servers(started: IsolatedInstance) -> Iterator[dict[str, Server]]:
    """Those that have been started, by name; filled by `server`."""
    yield {}
    started.run("part", "4", "variations", "--stop")


@pytest.fixture(scope="session", params=TOOLS)
def server(request: pytest.FixtureRequest, started: IsolatedInstance, servers: dict[str, Server]) -> Server:
    """Part 4's gateway, and each variation after our own agent has used it as `learner`."""
    name: str = request.param
    if name not in servers:
        servers[name] = _started(name, started)
    return servers[name]


def _started(name: str, instance: IsolatedInstance) -> Server:
    if name == "github-remote":
        return Server(name, f"http://localhost:{instance.ports[name]}/mcp", *TOOLS[name])
    ran = instance.run("part", "4", "run", "--variation", name, "--approve-as", "learner")
    assert ran.returncode == 0, ran.stderr
    status = json.loads(instance.run("status", "--json").stdout)["data"]
    (url,) = [one["url"] for one in status["variations"] if one["name"] == name]
    pat = instance.directory / "variations" / name / "secrets" / "pat-learner"
    return Server(name, url, *TOOLS[name], {"x-github-pat": pat.read_text()} if pat.exists() else {})


async def approve(url: str) -> None:
    """Approve a login, as a person does: slower than the program that waits for the redirect."""
    back = urlsplit(parse_qs(urlsplit(url).query)["redirect_uri"][0])
    async with asyncio.timeout(_LISTENING_SECONDS):  # a client that has ended never listens
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(back.hostname, back.port)
                break
            await asyncio.sleep(0.1)
    writer.close()
    await approve_login(url, "learner")


@pytest.fixture
def approver(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a client: a browser that approves as a practice user, and a home for its tokens."""
    home = tmp_path / "home"
    home.mkdir()
    with relayed(approve, tmp_path) as command:
        script = tmp_path / "browser"
        script.write_text(f'#!/bin/sh\nexec {command} "$1"\n', encoding="utf-8")
        script.chmod(0o700)
        yield {"BROWSER": str(script), "HOME": str(home)}
