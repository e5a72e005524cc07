"""Clients from npm: mcp-remote, and two strict OAuth libraries."""

import json
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.clients.conftest import Server
from tests.clients.packages import Npm

pytestmark = pytest.mark.timeout(400)
LIBRARIES = Path(__file__).with_name("libraries.mjs")


def tokens_in(store: Path) -> Path:
    """The one file of tokens that mcp-remote has written."""
    (file,) = store.rglob("*_tokens.json")
    return file


async def test_mcp_remote_logs_in_lists_calls_and_refreshes(
    npm: Npm, server: Server, approver: dict[str, str]
) -> None:
    store = Path(approver["HOME"], "mcp-remote")
    headers = [word for name, value in server.headers.items() for word in ("--header", f"{name}:{value}")]

    async def call(**environment: str) -> str:
        started = StdioServerParameters(
            command=npm.program("mcp-remote"),
            args=[server.url, *headers],
            env=npm.to_run({**approver, "MCP_REMOTE_CONFIG_DIR": str(store), **environment}),
        )
        async with Client(stdio_client(started), mode="legacy") as client:
            assert server.tool in [tool.name for tool in (await client.list_tools()).tools]
            (content, *_) = (await client.call_tool(server.tool, {})).content
            return content.text  # type: ignore[union-attr]

    assert server.answer in await call()
    file = tokens_in(store)
    tokens = json.loads(file.read_text())
    file.write_text(json.dumps({**tokens, "access_token": "stale"}))
    assert server.answer in await call(BROWSER="false")
    assert json.loads(file.read_text())["access_token"] not in {"stale", tokens["access_token"]}


@pytest.mark.parametrize("library", ["oauth4webapi", "openid-client"])
async def test_a_strict_library_logs_in_calls_and_refreshes(
    npm: Npm, server: Server, approver: dict[str, str], library: str
) -> None:
    words = (library, str(npm.folder(library)), server.url, server.tool, json.dumps(dict(server.headers)))
    done = await npm.run("node", str(LIBRARIES), *words, environment=approver)
    assert done.status == 0, done.errors
    for call in json.loads(done.output):  # with the first access token, and with the one of the refresh
        assert call["listed"]
        assert server.answer in call["called"]
