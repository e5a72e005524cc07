"""The clients of other people, what they connect to, and a browser that approves for them."""

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.clients.packages import Npm
from tests.environment import IsolatedInstance

ROOT = Path(__file__).resolve().parents[2]
# As a person does, it is slower than the program that waits for the redirect.
APPROVE = """
import asyncio, socket, sys, time
from urllib.parse import parse_qs, urlsplit
from workshop.agent.practice_browser import approve_login

back = urlsplit(parse_qs(urlsplit(sys.argv[1]).query)["redirect_uri"][0])
for _ in range(300):  # a client that has ended never listens
    if not socket.socket().connect_ex((back.hostname, back.port)):
        break
    time.sleep(0.1)
else:
    sys.exit("nothing listens at the redirect URI")
asyncio.run(approve_login(sys.argv[1], "learner"))
"""
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


@pytest.fixture
def approver(tmp_path: Path) -> dict[str, str]:
    """The environment of a client: a browser that approves as a practice user, and a home for its tokens."""
    script = tmp_path / "browser"
    python = shlex.join(["env", f"PYTHONPATH={ROOT}", sys.executable, "-c", APPROVE])
    script.write_text(f'#!/bin/sh\nexec {python} "$1"\n', encoding="utf-8")
    script.chmod(0o700)
    home = tmp_path / "home"
    home.mkdir()
    return {"BROWSER": str(script), "HOME": str(home)}
