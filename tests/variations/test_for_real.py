"""Each server from the example in *Use it for real*: a process, under a public name, with TLS in front."""

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.agent.conftest import Visit, logged_in
from tests.clients.packages import python_package, run_python
from tests.servers.gateway.harness import ec_pem, in_thread
from tests.variations.edge import Edge, edge
from tests.variations.prefix_gateway import Upstream
from tests.variations.real import AS_PROCESS, Served, Way
from tests.variations.resource_servers import Keycloak
from workshop.core.http_client import _system_certificates
from workshop.core.paths import parts_dir
from workshop.core.ports import free_port

pytestmark = pytest.mark.timeout(600)
FOLDER = parts_dir() / "04_remote_oauth" / "variations"
HOSTS = {"resource-server": "tools.example.com", "prefix-gateway": "mcp.example.com"}
MY_TOOLS = '''
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b

def shout(text: str) -> str:
    """Say it loudly."""
    return text.upper()
'''
WORDS = """
from mcp.server.mcpserver import MCPServer

server = MCPServer("words", log_level="ERROR")

@server.tool()
def reverse(text: str) -> str:
    return text[::-1]

server.run("stdio")
"""
FASTMCP = """
import asyncio, json, sys
from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport

async def main(url, token, headers, tool, arguments):
    transport = StreamableHttpTransport(url, headers=json.loads(headers), auth=token)
    async with Client(transport) as client:
        names = [each.name for each in await client.list_tools()]
        answer = await client.call_tool(tool, json.loads(arguments))
        print(json.dumps({"names": names, "text": answer.content[0].text}))

asyncio.run(main(*sys.argv[1:]))
"""


@dataclass(frozen=True)
class Site:
    """A server for real: its public address, its provider, and the test's internet."""

    url: str
    server: Served
    metrics_port: int
    keycloak: Keycloak
    internet: Edge

    def token(self) -> str:
        return self.keycloak.token(aud=[self.url, "account"])


def example(name: str, folder: Path) -> tuple[Path, int, int]:
    """The README's own file, on free ports: its path, its port, and that of its metrics."""
    text = (FOLDER / name / "README.md").read_text("utf-8").partition("\n## Use it for real\n")[2]
    (block,) = re.findall(r"^```toml\n(.*?)^```$", text.partition("\n## ")[0], re.MULTILINE | re.DOTALL)
    port, metrics = free_port(), free_port()
    for old, new in (("port = 8000", f"port = {port}"), ("metrics_port = 9000", f"metrics_port = {metrics}")):
        assert len(re.findall(rf"^{old}", block, re.MULTILINE)) == 1
        block = re.sub(rf"^{old}", new, block, flags=re.MULTILINE)
    config = folder / "server.toml"
    config.write_text(block)
    return config, port, metrics


@contextmanager
def serving(
    name: str, folder: Path, others: Mapping[str, int], environment: Mapping[str, str], way: Way
) -> Iterator[Site]:
    host = HOSTS[name]
    config, port, metrics = example(name, folder)
    keycloak, realm_port = Keycloak(url="https://keycloak.example.com"), free_port()
    keycloak.mapped = {"mcp:tools": f"https://{host}/mcp"}
    with (
        in_thread(keycloak.app(), realm_port),
        edge(folder / "edge", also=way.also, keycloak=realm_port) as internet,
    ):
        internet.ports |= {host: port, **others}
        variables = {**internet.environment, **environment}
        with way.run(name, config, port, variables) as server:
            yield Site(f"https://{host}/mcp", server, metrics, keycloak, internet)


@contextmanager
def tools_site(folder: Path, way: Way = AS_PROCESS) -> Iterator[Site]:
    """The resource server with two functions."""
    (folder / "my_tools.py").write_text(MY_TOOLS)
    with serving("resource-server", folder, {}, {"PYTHONPATH": str(folder)}, way) as site:
        yield site


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with tools_site(tmp_path_factory.mktemp("tools")) as site:
        yield site


class AsLocalhost:
    """GitHub's own name and path for a test's upstream, which answers to localhost only."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            others = [pair for pair in scope["headers"] if pair[0] != b"host"]
            scope = {**scope, "path": "/mcp", "headers": [(b"host", b"localhost:80"), *others]}
        await self._app(scope, receive, send)


@pytest.fixture(scope="module")
def github() -> Upstream:
    return Upstream(("get_me", "search"), refused="revoked")


@contextmanager
def gateway_site(folder: Path, github: Upstream, way: Way = AS_PROCESS) -> Iterator[Site]:
    """The gateway, before `github` and a server over stdio."""
    (folder / "secrets").mkdir()
    (folder / "secrets" / "signing-key.pem").write_bytes(ec_pem())
    (folder / ".env").write_text("DISCOVERY_PAT=github_pat_of_nobody_much\n")
    (folder / "words.py").write_text(WORDS)
    port, python = free_port(), str(Path(sys.executable).parent)
    path = {"PATH": f"{python}{os.pathsep}{os.environ['PATH']}"}
    others = {"api.githubcopilot.com": port}
    with (
        in_thread(AsLocalhost(github.app()), port),
        serving("prefix-gateway", folder, others, path, way) as site,
    ):
        yield site


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, github: Upstream) -> Iterator[Site]:
    with gateway_site(tmp_path_factory.mktemp("gateway"), github) as site:
        yield site


async def by_our_agent(
    site: Site,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    headers: dict[str, str],
    tool: str,
    **given: object,
) -> str:
    """The agent's own login and one call, with the variables of the test's internet."""
    for name, value in site.internet.environment.items():
        monkeypatch.setenv(name, value)
    _system_certificates.cache_clear()  # each site has an authority of its own
    async with logged_in(site.url, folder, Visit(), headers=headers) as client:
        return str((await client.call_tool(tool, given)).content)


def by_fastmcp(
    request: pytest.FixtureRequest, site: Site, headers: dict[str, str], tool: str, **given: object
) -> dict[str, object]:
    """FastMCP's client, in a process of its own, with a token of the provider."""
    return ask_fastmcp(request, site.url, site.token(), site.internet, headers, tool, **given)


def ask_fastmcp(
    request: pytest.FixtureRequest,
    url: str,
    token: str,
    internet: Edge,
    headers: Mapping[str, str],
    tool: str,
    **given: object,
) -> dict[str, object]:
    """FastMCP's client, in a process of its own: the tools' `names`, and the `text` of one answer."""
    assert request.config.cache is not None
    folder = python_package(request.config.cache.mkdir("clients"), "fastmcp")
    words = ["-c", FASTMCP, url, token, json.dumps(headers), tool, json.dumps(given)]
    done = run_python(folder, words, internet.environment)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


async def test_our_agent_uses_the_resource_server(
    tools: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "42" in await by_our_agent(tools, tmp_path, monkeypatch, {}, "add", a=40, b=2)
    assert {"tools.example.com", "keycloak.example.com"} <= set(tools.internet.asked)
    counted = tools.server.metrics(tools.metrics_port)
    assert counted['workshop_logins_total{outcome="allowed"}'] >= 1
    assert counted['workshop_refusals_total{reason="no_token"}'] >= 1


def test_fastmcps_client_uses_the_resource_server(tools: Site, request: pytest.FixtureRequest) -> None:
    answer = by_fastmcp(request, tools, {}, "shout", text="gpx")
    assert answer == {"names": ["add", "shout"], "text": "GPX"}


async def test_our_agent_uses_the_gateway(
    gateway: Site, github: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"x-github-pat": "github_pat_of_lea"}
    assert "github_pat_of_lea" in await by_our_agent(gateway, tmp_path, monkeypatch, headers, "github_get_me")
    assert github.tokens("tools/call") == {"github_pat_of_lea"}
    assert github.tokens("tools/list") <= {"github_pat_of_nobody_much"}
    assert "api.githubcopilot.com" in gateway.internet.asked
    counted = gateway.server.metrics(gateway.metrics_port)
    assert counted['workshop_upstream_seconds_count{upstream="github"}'] >= 1


def test_fastmcps_client_uses_the_gateway(
    gateway: Site, github: Upstream, request: pytest.FixtureRequest
) -> None:
    answer = by_fastmcp(request, gateway, {"x-github-pat": "mine"}, "words_reverse", text="gpx")
    assert answer == {"names": ["github_get_me", "github_search", "words_reverse"], "text": "xpg"}
    assert {seen.headers.get("x-mcp-readonly") for seen in github.seen} == {"true"}


def test_no_token_is_in_a_log(gateway: Site, tools: Site) -> None:
    for log in (gateway.server.log, tools.server.log):
        assert all(json.loads(line)["level"] for line in log.splitlines())
        assert not re.search(r"github_pat_|eyJ", log)
