"""The worker as somebody would run it: its README's example, github.com, a public name, TLS in front."""

import json
import re
import secrets
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from tests.clients.conftest import cache
from tests.clients.packages import python_package, run_python
from tests.clients.test_python_clients import FASTMCP
from tests.variations.edge import Edge, edge
from tests.variations.real import AS_PROCESS, Served, Way, example, practice_github, visitor
from workshop.core.paths import checkout_dir
from workshop.core.ports import free_port
from workshop.course.lessons import find_variation

__all__ = ["cache"]  # a fixture
pytestmark = pytest.mark.timeout(400)
README = (find_variation("worker").directory / "README.md").read_text("utf-8")
URL, SECRET = "https://worker.example.com", "the-secret-of-the-app"


@dataclass(frozen=True)
class World:
    """A worker that runs for real, and what is around it."""

    folder: Path
    server: Served
    edge: Edge
    metrics_port: int

    def ask(self, method: str, path: str, **content: object) -> httpx2.Response:
        """One request as the TLS proxy forwards it."""
        headers = {"host": "worker.example.com"}
        url = f"http://127.0.0.1:{self.server.port}{path}"
        return httpx2.request(method, url, headers=headers, trust_env=False, **content)  # type: ignore[arg-type]


@contextmanager
def real_world(folder: Path, way: Way = AS_PROCESS) -> Iterator[World]:
    """The worker, github.com, and the test's internet."""
    port, metrics, github = free_port(), free_port(), free_port()
    config = example(README, "toml").replace("port = 8000 ", f"port = {port} ")
    config = config.replace('"your-login"', '"learner"')
    (folder / "worker.toml").write_text(f"metrics_port = {metrics}\n{config}")
    (folder / ".env").write_text(
        f"GITHUB_CLIENT_SECRET={SECRET}\nCOOKIE_ENCRYPTION_KEY={secrets.token_hex(32)}\n"
    )
    with (
        edge(folder / "edge", also=way.also, worker=port) as outside,
        practice_github(folder, github, f"{URL}/callback", SECRET, public_url="https://github.com"),
    ):
        outside.ports |= {"github.com": github, "api.github.com": github}
        with way.run("worker", folder / "worker.toml", port, outside.environment) as server:
            yield World(folder, server, outside, metrics)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with real_world(tmp_path_factory.mktemp("real")) as found:
        yield found


def test_our_agent_logs_in_and_uses_every_tool(world: World) -> None:
    me, repositories, power = visitor(
        world.folder,
        world.edge.environment,
        f"{URL}/mcp",
        *("get_user_info", "{}", "get_github_repos", '{"limit": 3}'),
        *("calculate", '{"operation": "power", "a": 7, "b": 8}'),
    )
    assert json.loads(me["text"])["login"] == "learner"
    assert len(json.loads(repositories["text"])["repositories"]) == 3
    assert power["text"] == "5764801.0"
    assert {"worker.example.com", "github.com", "api.github.com"} <= set(world.edge.asked)
    assert SECRET not in world.server.log
    samples = world.server.metrics(world.metrics_port)
    assert samples['workshop_logins_total{outcome="allowed"}'] == 1
    assert samples['workshop_upstream_seconds_count{upstream="github"}'] >= 2


def test_the_metadata_names_the_public_address(world: World) -> None:
    challenge = world.ask("POST", "/mcp").headers["www-authenticate"]
    assert f"{URL}/.well-known/oauth-protected-resource/mcp" in challenge
    server = world.ask("GET", "/.well-known/oauth-authorization-server").json()
    assert {server[name] for name in ("issuer", "authorization_endpoint", "token_endpoint")} == {
        URL,
        f"{URL}/auth",
        f"{URL}/token",
    }


def test_the_cookie_is_sealed_and_belongs_to_this_host_alone(world: World) -> None:
    back = "http://localhost:8765/callback"
    client = world.ask("POST", "/register", json={"redirect_uris": [back]}).json()
    asked = {
        "client_id": client["client_id"],
        "redirect_uri": back,
        "response_type": "code",
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
    }
    cookie = world.ask("GET", "/auth", params=asked).headers["set-cookie"]
    found = re.match(r"__Host-workshop-worker=([0-9a-f]+);", cookie)
    assert found is not None
    assert len(found[1]) > 2 * 43, "the value, a nonce and a tag"
    assert "Secure" in cookie
    assert "HttpOnly" in cookie


def test_health_answers_under_any_host_and_nothing_else_does(world: World) -> None:
    assert world.server.get("/health", host="10.0.0.7").status_code == 200
    refused = world.server.get("/auth", host="10.0.0.7")
    assert (refused.status_code, refused.json()["error"]) == (421, "misdirected_request")


def by_fastmcp(cache: Path, home: Path, edge: Mapping[str, str], url: str, tool: str) -> dict[str, object]:
    """What FastMCP's client gets: it logs in, lists, and calls a tool twice, with a refresh between."""
    home.mkdir()
    browser = home / "browser"
    python = shlex.join(["env", f"PYTHONPATH={checkout_dir()}", sys.executable, "-m"])
    browser.write_text(f'#!/bin/sh\nexec {python} tests.variations.visitor browse "$1"\n')
    browser.chmod(0o700)
    environment = {**edge, "HOME": str(home), "BROWSER": f"{browser} %s &"}
    words = ["-c", FASTMCP, url, tool, "{}"]
    done = run_python(python_package(cache, "fastmcp"), words, environment, home)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_fastmcps_client_uses_it(cache: Path, world: World, tmp_path: Path) -> None:
    answer = by_fastmcp(cache, tmp_path / "client", world.edge.environment, f"{URL}/mcp", "get_user_info")
    assert all("learner" in text for text in answer["texts"])  # type: ignore[attr-defined]
    assert answer["renewed"]
