"""Part 3's tools on ToolHive's real proxy: what its manifest lists, and how, in both versions of MCP."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from tests.conformance.servers import lesson_server
from tests.servers.gateway.harness import NO_TLS
from tests.toolhive_real import run_configs
from tests.toolhive_real.mcp_questions import ERAS, LEGACY
from tests.toolhive_real.places import DEADLINE, TOOLHIVE_SERVES, Program, environment
from workshop.core.paths import parts_dir
from workshop.core.ports import free_port
from workshop.toolhive import manifests
from workshop.toolhive.manifests import Resources


@contextmanager
def proxy(folder: Path, proxyrunner: Path, resources: Resources, remote: str) -> Iterator[str]:
    """ToolHive's proxy before `remote`, with the tools of the manifest."""
    port = free_port()
    (server,) = resources.of("MCPServer")
    told = run_configs.before(server, resources, remote, port)
    (folder / "runconfig.json").write_text(json.dumps(told), encoding="utf-8")
    command = [str(proxyrunner), "run", server.name]
    program = Program(command, folder, TOOLHIVE_SERVES, environment(folder))
    try:
        program.start()
        yield f"http://localhost:{port}/mcp"
    finally:
        program.stop()


@pytest.mark.parametrize("era", ERAS)
async def test_the_operators_list_is_what_a_client_gets(tmp_path: Path, proxyrunner: Path, era: str) -> None:
    resources = manifests.load(parts_dir() / "03_toolhive" / "toolhive")
    (tools,) = resources.of("MCPToolConfig")
    async with (
        lesson_server() as remote,
        httpx2.AsyncClient(verify=NO_TLS, trust_env=False, timeout=DEADLINE) as http,
    ):
        with proxy(tmp_path, proxyrunner, resources, remote) as url:
            transport = streamable_http_client(url, http_client=http)
            async with Client(transport, mode="legacy" if era == LEGACY else era) as client:
                assert client.protocol_version == era
                listed = {tool.name: tool.description for tool in (await client.list_tools()).tools}
                assert sorted(listed) == sorted(tools.items("spec.toolsFilter"))
                for name, override in tools.mapping("spec.toolsOverride").items():
                    assert listed[name] == override["description"]
                    answer = await client.call_tool(name, {"repository": "trail-mapper", "number": 42})
                    assert not answer.is_error, answer
                with pytest.raises(MCPError):
                    await client.call_tool("slow_count", {})
