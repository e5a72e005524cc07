"""MCP Inspector's command line: login, list, call, refresh; and the bridge, started by it."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.clients.conftest import Server
from tests.clients.packages import Finished, Npm
from workshop.core.ports import free_port

pytestmark = pytest.mark.timeout(400)
AUTH_REQUIRED = 3


@pytest.fixture
def inspector(approver: dict[str, str]) -> dict[str, str]:
    return {**approver, "MCP_AUTO_OPEN_ENABLED": "true", "MCP_INSPECTOR_SECRET_STORE": "file"}


async def inspect(npm: Npm, issuer: str, *options: str, environment: Mapping[str, str]) -> Finished:
    callback = f"http://127.0.0.1:{free_port()}/oauth/callback"
    where = ("--cli", f"{issuer}/mcp", "--transport", "http", "--callback-url", callback)
    return await npm.run("mcp-inspector", *where, "--format", "json", *options, environment=environment)


def spoil_access_token(home: str) -> str:
    """Replace the one stored access token, so that only a refresh helps; return the refresh token."""
    file = Path(home, ".mcp-inspector", "secrets.json")
    stored = json.loads(file.read_text())
    ((name, text),) = ((name, text) for name, text in stored["secrets"].items() if "access_token" in text)
    tokens = json.loads(text)
    stored["secrets"][name] = json.dumps({**tokens, "access_token": "stale"})
    file.write_text(json.dumps(stored))
    return str(tokens["refresh_token"])


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_it_logs_in_lists_the_tools_refreshes_and_calls_one(
    npm: Npm, server: Server, inspector: dict[str, str], era: str
) -> None:
    listed = await inspect(
        npm, server.origin, "--protocol-era", era, "--method", "tools/list", environment=inspector
    )
    assert listed.status == 0, listed.errors
    assert server.tool in [tool["name"] for tool in json.loads(listed.output)["result"]["tools"]]
    headers = [word for name, value in server.headers.items() for word in ("--header", f"{name}: {value}")]
    refreshed = spoil_access_token(inspector["HOME"])
    called = await inspect(
        npm,
        server.origin,
        *("--protocol-era", era, "--method", "tools/call", "--tool-name", server.tool, *headers),
        environment=inspector | {"BROWSER": "false"},  # no second login
    )
    assert called.status == 0, called.errors
    assert spoil_access_token(inspector["HOME"]) != refreshed
    content = json.loads(called.output)["result"]["content"]
    assert server.answer in content[0]["text"]
    if server.name == "github-remote":
        assert json.loads(content[0]["text"])["login"] == "learner"


async def test_without_a_browser_it_reports_that_a_login_is_required(
    npm: Npm, server: Server, inspector: dict[str, str]
) -> None:
    unattended = inspector | {"MCP_AUTO_OPEN_ENABLED": "false"}
    refused = await inspect(
        npm, server.origin, "--stored-auth-only", "--method", "tools/list", environment=unattended
    )
    assert refused.status == AUTH_REQUIRED
    assert '"code":"auth_required"' in refused.output + refused.errors


async def test_the_bridge_is_a_server_like_any_other(
    npm: Npm, server: Server, inspector: dict[str, str], tmp_path: Path
) -> None:
    environment = {**inspector, "WORKSHOP_HOME": str(tmp_path / "state")}
    files = []
    for name, value in server.headers.items():
        (tmp_path / name).write_text(value)
        files += ["--header-file", f"{name}={tmp_path / name}"]
    bridge = [sys.executable, "-m", "workshop", "bridge", server.url, "--approve-as", "learner", *files]
    called = await npm.run(
        "mcp-inspector",
        *("--cli", "--method", "tools/call", "--tool-name", server.tool, "--format", "json"),
        *(word for name in ("WORKSHOP_HOME", "HOME") for word in ("-e", f"{name}={environment[name]}")),
        *("--", *bridge),
        environment=environment,
    )
    assert called.status == 0, called.errors
    assert server.answer in json.loads(called.output)["result"]["content"][0]["text"]
