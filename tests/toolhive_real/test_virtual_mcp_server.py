"""The variation `prefix-gateway` on ToolHive's own `vmcp`: what its manifests say, before two servers.

On a cluster `vmcp` finds the servers of its group by itself. Without one its configuration has their
addresses (`outgoingAuth.source: inline`), and no place for the header that the manifests add.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
import yaml
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import MCPServer
from mcp_types import CallToolResult, TextContent
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.agent.conftest import log_in
from tests.servers.gateway.harness import NO_TLS, in_thread
from tests.toolhive.test_virtual_mcp_server import VARIATION, gateway
from tests.toolhive_real import run_configs
from tests.toolhive_real.mcp_questions import ERAS, LEGACY
from tests.toolhive_real.places import DEADLINE, Program, environment
from workshop.core.ports import free_port
from workshop.lab.base import PRACTICE_CLIENT_ID
from workshop.servers.practice.app import create_app
from workshop.servers.practice.client import read_requests
from workshop.servers.practice.config import PracticeConfig
from workshop.toolhive.lint import DEFAULT_SCOPES
from workshop.toolhive.manifests import Resource, Resources
from workshop.toolhive.secrets import SecretFiles, new_signing_key

SECRET = "practice-client-secret"
_SERVES = b"health endpoints available"


def manifests_at(port: int, practice: str) -> Resources:
    """The variation's manifests with the gateway at this port, and the practice GitHub for GitHub."""
    texts = [path.read_text("utf-8") for path in sorted((VARIATION / "toolhive").glob("*.yaml"))]
    for old, new in {
        "localhost:4483": f"localhost:{port}",
        "https://github.com/": f"{practice}/",
        "https://api.github.com/": f"{practice}/",
        "https://api.githubcopilot.com/": f"{practice}/",
        "replace-with-your-github-oauth-client-id": PRACTICE_CLIENT_ID,
    }.items():
        assert any(old in text for text in texts), old
        texts = [text.replace(old, new) for text in texts]
    bodies = [body for text in texts for body in yaml.safe_load_all(text)]
    return Resources(tuple(Resource(b["kind"], b["metadata"]["name"], b, "manifest") for b in bodies))


@dataclass
class Local:
    """A server in the place of part 3's, with one tool too many; it keeps what it is sent."""

    headers: list[dict[str, str]] = field(default_factory=list)

    def app(self) -> ASGIApp:
        server = MCPServer("local", log_level="ERROR")

        @server.tool()
        def calculate(expression: str) -> str:
            """Say it again."""
            return expression

        @server.tool()
        def list_repositories() -> str:
            """Say that there are none."""
            return "none"

        @server.tool()
        def slow_count() -> str:
            """Never be called."""
            raise AssertionError("the gateway hides this tool")

        served = server.streamable_http_app()

        async def recorded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
            await served(scope, receive, send)

        return recorded


@dataclass(frozen=True)
class RunningVmcp:
    """`vmcp` with both its servers."""

    url: str
    practice: str
    local: Local


@contextmanager
def running_vmcp(folder: Path, vmcp: Path) -> Iterator[RunningVmcp]:
    port = free_port()
    practice_port = free_port(besides=[port])
    local, local_port = Local(), free_port(besides=[port, practice_port])
    github = PracticeConfig(
        port=practice_port,
        client_id=PRACTICE_CLIENT_ID,
        client_secret=SECRET,
        callback_url=f"http://localhost:{port}/oauth/callback",
        app_name="MCP workshop",
    )
    with (
        in_thread(create_app(github), practice_port) as practice,
        in_thread(local.app(), local_port) as beside,
    ):
        _write(folder, manifests_at(port, practice), f"{beside}/mcp")
        command = [str(vmcp), "serve", "--config", "config.yaml", "--port", str(port)]
        program = Program(command, folder, _SERVES, environment(folder))
        try:
            program.start()
            yield RunningVmcp(f"http://localhost:{port}/mcp", practice, local)
        finally:
            program.stop()


def _write(folder: Path, resources: Resources, local: str) -> None:
    """The two files that the operator writes, and the secrets that it mounts."""
    one, (entry,), (server,) = gateway(resources), resources.of("MCPServerEntry"), resources.of("MCPServer")
    backends = {entry.name: entry.text("spec.remoteUrl"), server.name: local}
    config = run_configs.virtual_server(one, resources, backends)
    secrets = SecretFiles(folder / "secrets")
    secrets.write("prefix-gateway-signing-key", "signing-key.pem", new_signing_key())
    secrets.write("prefix-gateway-hmac", "hmac-secret", b"h" * 48)
    secrets.write("prefix-gateway-oauth-client", "client-secret", SECRET.encode())
    told = one.mapping("spec.authServerConfig")
    for provider in told["upstreamProviders"]:  # the practice GitHub is on loopback, and has no TLS
        provider["oauth2Config"] |= {"insecureAllowHTTP": True, "allowPrivateIPs": True}
    audience = one.text("spec.incomingAuth.oidcConfigRef.audience")
    auth = run_configs.auth_server(told, secrets, audience=audience, scopes=list(DEFAULT_SCOPES))
    for name, values in {"config.yaml": config, "authserver-config.yaml": auth}.items():
        (folder / name).write_text(yaml.safe_dump(values), encoding="utf-8")


@asynccontextmanager
async def connected(url: str, token: str, era: str) -> AsyncIterator[Client]:
    """The SDK's client with this token, in one revision of MCP."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, verify=NO_TLS, trust_env=False, timeout=DEADLINE) as http,
        Client(
            streamable_http_client(url, http_client=http), mode="legacy" if era == LEGACY else era
        ) as client,
    ):
        yield client


TOOLS = {"github_get_me", "github_search_repositories", "github_list_issues", "github_issue_read"}
TOOLS |= {"local_list_repositories", "local_calculate"}


@pytest.mark.parametrize("era", ERAS)
async def test_the_manifests_give_each_server_its_tools_and_github_alone_a_token(
    tmp_path: Path, vmcp: Path, era: str
) -> None:
    with running_vmcp(tmp_path, vmcp) as running:
        token = await log_in(running.url, tmp_path / "logins")
        async with connected(running.url, token, era) as client:
            assert client.protocol_version == era
            assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
            assert json.loads(text_of(await client.call_tool("github_get_me", {})))["login"] == "learner"
            assert text_of(await client.call_tool("local_calculate", {"expression": "1 + 1"})) == "1 + 1"
            for hidden in ("local_slow_count", "github_create_issue", "get_me"):
                assert await is_refused(client, hidden)
        seen = [each for each in await read_requests(running.practice) if each.path.startswith("/mcp")]
    sent = {str(each.authorization["user"]) for each in seen if each.authorization}
    assert sent == {"learner"}  # others are `vmcp` asking whether the server is there, with no token at all
    assert running.local.headers
    assert not [headers for headers in running.local.headers if "authorization" in headers]


async def is_refused(client: Client, tool: str) -> bool:
    try:
        return bool((await client.call_tool(tool, {})).is_error)
    except MCPError:
        return True


def text_of(answer: CallToolResult) -> str:
    assert not answer.is_error, answer
    content = answer.content[0]
    assert isinstance(content, TextContent)
    return content.text
