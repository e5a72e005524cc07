"""The agent's own client, judged by the conformance suite: every scenario that a revision requires.

The suite's contract: it starts a command for each scenario, all at once; the environment names the scenario
and describes it, the last argument is the server's URL, and nobody is there to click, so its authorization
servers redirect at once. The agent answers no elicitation; the two scenarios about that judge the SDK's
client over the agent's HTTP and login.
"""

import contextlib
import json
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx2
import pytest
from mcp import Client
from mcp.client.context import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull
from mcp.types import ElicitRequestFormParams, ElicitRequestParams, ElicitResult

from tests.clients.packages import Npm
from tests.clients.relay import relayed
from tests.conformance.verdicts import PATIENCE_MILLISECONDS, judge
from workshop.agent import LoopbackListener, McpTools, OAuthClient, TokenStore, ToolSpec
from workshop.agent.connect import connect
from workshop.agent.http import open_client
from workshop.core.ports import free_port

ELICITING = ("elicitation-sep1034-client-defaults", "sep-2322-client-request-state")
METADATA_URL = "https://conformance-test.local/client-metadata.json"
SECONDS = 60


@dataclass(frozen=True)
class FollowRedirect:
    """An approval that goes where the authorization server redirects to: our listener."""

    way: Literal["printed"] = "printed"
    user: str = ""

    async def start(self, url: str) -> None:
        async with open_client(SECONDS) as http:
            await http.get(url, follow_redirects=True)


async def accept_defaults(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
    """Accept a form with the default of every field that has one."""
    fields = params.requested_schema["properties"] if isinstance(params, ElicitRequestFormParams) else {}
    defaults = {name: field["default"] for name, field in fields.items() if "default" in field}
    return ElicitResult(action="accept", content=defaults)


@contextlib.asynccontextmanager
async def connected(url: str, auth: httpx2.Auth, scenario: str) -> AsyncIterator[Client]:
    if scenario not in ELICITING:
        async with connect(url, auth=auth, seconds=SECONDS) as client:
            yield client
        return
    async with open_client(SECONDS, auth=auth) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, elicitation_callback=accept_defaults) as client:
            yield client


def calls(tools: list[ToolSpec], context: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The calls the scenarios look for: those they ask for, an echoed schema, or every tool they offer."""
    if wanted := context.get("toolCalls"):
        return [(call["name"], call["arguments"]) for call in wanted]
    if "json_schema_echo" in [tool.name for tool in tools]:
        return [("json_schema_echo", {"schema": tools[0].input_schema})]
    numbers = {"a": 5, "b": 3}
    return [(tool.name, numbers if tool.name == "add_numbers" else {}) for tool in tools]


def registered(context: dict[str, Any]) -> OAuthClientInformationFull | None:
    """The client that the scenario registered by hand, if it did."""
    if "client_id" not in context:
        return None
    method = "client_secret_basic" if "client_secret" in context else "none"
    return OAuthClientInformationFull(
        client_id=context["client_id"],
        client_secret=context.get("client_secret"),
        token_endpoint_auth_method=method,
    )


async def run(scenario: str, described: str, url: str) -> None:
    """One scenario: log in where the server wants it, list the tools, and call them."""
    context = json.loads(described or "{}")
    with tempfile.TemporaryDirectory() as folder:
        async with LoopbackListener(free_port()) as listener:
            auth = OAuthClient(
                url,
                listener=listener,
                approval=FollowRedirect(),
                tokens=TokenStore(Path(folder)),
                client=registered(context),
                client_metadata_url=METADATA_URL,
                approval_seconds=SECONDS,  # nobody comes later
            )
            async with connected(url, auth, scenario) as client:
                toolbox = McpTools(client, timeout=SECONDS)
                for name, arguments in calls(await toolbox.list_tools(), context):
                    await toolbox.call_tool(name, arguments)


REQUIRED = {"2025-11-25": 18, "2026-07-28": 32}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("revision", REQUIRED)
async def test_the_agent_passes_what_a_revision_requires_of_a_client(
    npm: Npm, tmp_path: Path, revision: str
) -> None:
    with relayed(run, tmp_path) as command:
        started = f'{command} "$MCP_CONFORMANCE_SCENARIO" "$MCP_CONFORMANCE_CONTEXT"'
        wanted = ("--command", started, "--requirements", revision, "--timeout", str(PATIENCE_MILLISECONDS))
        verdict = await judge(npm, "client", *wanted)
    assert verdict.status == 0, verdict.summary
    assert len(verdict.scenarios) >= REQUIRED[revision]
