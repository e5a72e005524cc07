"""Clients from pip: FastMCP's, and the grader mcp-authlab."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.clients.conftest import Server
from tests.clients.packages import LOOPBACK_ONLY, python_package, run_python

pytestmark = pytest.mark.timeout(400)
FASTMCP = """
import asyncio, json, sys
from fastmcp import Client
from fastmcp.client.auth import OAuth
from fastmcp.client.transports import StreamableHttpTransport

async def main(url, tool, headers):
    auth = OAuth(url)
    transport = StreamableHttpTransport(url, headers=json.loads(headers), auth=auth)
    async with Client(transport) as client:
        names = [each.name for each in await client.list_tools()]
        auth.context.redirect_handler = None  # no second login
        texts, tokens = [], []
        for _ in range(2):
            auth.context.token_expiry_time = 1  # so the second call refreshes
            texts.append((await client.call_tool(tool, {})).content[0].text)
            tokens.append(auth.context.current_tokens.access_token)
        print(json.dumps({"names": names, "texts": texts, "renewed": len(set(tokens)) == 2}))

asyncio.run(main(*sys.argv[1:]))
"""


def run(folder: Path, words: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return run_python(folder, words, {**LOOPBACK_ONLY, **environment}, Path(environment["HOME"]))


def test_fastmcps_client_logs_in_lists_calls_and_refreshes(
    cache: Path, server: Server, approver: dict[str, str]
) -> None:
    folder = python_package(cache, "fastmcp")
    words = ["-c", FASTMCP, server.url, server.tool, json.dumps(dict(server.headers))]
    # It listens for the redirect only after its browser has been started, so that one goes to the background.
    done = run(folder, words, {**approver, "BROWSER": f"{approver['BROWSER']} %s &"})
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert server.tool in answer["names"]
    assert all(server.answer in text for text in answer["texts"])
    assert answer["renewed"]


def test_mcp_authlab_gives_an_a(cache: Path, server: Server, approver: dict[str, str]) -> None:
    folder = python_package(cache, "mcp-authlab")
    login = run(folder, ["-m", "mcp_authlab", "login", server.url, "--no-color"], approver)
    assert login.returncode == 0, login.stderr
    assert "✗" not in login.stdout
    scan = run(folder, ["-m", "mcp_authlab", "scan", server.url, "--format", "json"], approver)
    report = json.loads(scan.stdout)
    assert report["grade"] == "A"
    results = {check["id"]: check["status"] for check in report["results"]}
    assert "fail" not in results.values()
    assert results["TOK-01"] == "pass", "the scan has not used the login"
