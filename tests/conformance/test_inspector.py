"""MCP Inspector's command line, a client we did not write, through the gateway to the practice GitHub."""

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conformance.npm import Finished, Npm
from tests.conformance.servers import ROOT
from workshop.core.ports import free_port

AUTH_REQUIRED = 3
APPROVE = (
    "import sys, asyncio, workshop.agent.practice_browser as f; "
    "asyncio.run(f.approve_login(sys.argv[1], 'learner'))"
)


@pytest.fixture
def browser(tmp_path: Path) -> dict[str, str]:
    """A browser that approves as a practice user, and a home for the tokens that the Inspector stores."""
    script = tmp_path / "browser"
    python = shlex.join(["env", f"PYTHONPATH={ROOT}", sys.executable, "-c", APPROVE])
    script.write_text(f'#!/bin/sh\nexec {python} "$1"\n', encoding="utf-8")
    script.chmod(0o700)
    home = tmp_path / "home"
    home.mkdir()
    return {
        "BROWSER": str(script),
        "MCP_AUTO_OPEN_ENABLED": "true",
        "MCP_INSPECTOR_SECRET_STORE": "file",
        "HOME": str(home),
    }


async def inspect(npm: Npm, issuer: str, *options: str, environment: Mapping[str, str]) -> Finished:
    callback = f"http://127.0.0.1:{free_port()}/oauth/callback"
    where = ("--cli", f"{issuer}/mcp", "--transport", "http", "--callback-url", callback)
    return await npm.run("mcp-inspector", *where, "--format", "json", *options, environment=environment)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_it_logs_in_lists_the_tools_and_calls_one(
    npm: Npm, issuer: str, browser: dict[str, str], era: str
) -> None:
    listed = await inspect(npm, issuer, "--protocol-era", era, "--method", "tools/list", environment=browser)
    assert listed.status == 0, listed.errors
    assert "get_me" in [tool["name"] for tool in json.loads(listed.output)["result"]["tools"]]
    called = await inspect(
        npm,
        issuer,
        *("--protocol-era", era, "--method", "tools/call", "--tool-name", "get_me"),
        environment=browser | {"BROWSER": "false"},  # the login is stored
    )
    assert called.status == 0, called.errors
    (content,) = json.loads(called.output)["result"]["content"]
    assert json.loads(content["text"])["login"] == "learner"


@pytest.mark.timeout(400)
async def test_without_a_browser_it_reports_that_a_login_is_required(
    npm: Npm, issuer: str, browser: dict[str, str]
) -> None:
    unattended = browser | {"MCP_AUTO_OPEN_ENABLED": "false"}
    refused = await inspect(
        npm, issuer, "--stored-auth-only", "--method", "tools/list", environment=unattended
    )
    assert refused.status == AUTH_REQUIRED
    assert '"code":"auth_required"' in refused.output + refused.errors
