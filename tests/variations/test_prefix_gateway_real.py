"""The gateway's file at work: status, reload, fixed headers, a server over stdio, a refused credential."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.lab.tools.waiting import until
from tests.servers.gateway.harness import NO_TLS, Clock, ec_pem, in_thread
from tests.servers.gateway.outside import ISSUER, Issuer
from tests.variations.prefix_gateway import Upstream, text_of
from tests.variations.real import Served, served
from workshop.core.ports import free_port

HELP = "https://github.com/settings/personal-access-tokens"
STDIO = '''
import os
from mcp.server.mcpserver import MCPServer

server = MCPServer("words", log_level="ERROR")

@server.tool()
def whose() -> str:
    """Whose key this process has."""
    return f"{os.environ.get('WORDS_KEY')} {os.environ.get('FIXED')} {os.environ.get('NEVER')}"

server.run("stdio")
'''


@dataclass(frozen=True)
class Site:
    """A gateway that runs from its own file, with an upstream over HTTP and one over stdio."""

    config: Path
    server: Served
    issuer: Issuer
    github: Upstream
    values: dict[str, Any]

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server.port}/mcp"

    def write(self, *registrations: dict[str, Any]) -> None:
        """Put these registrations into the file, at once."""
        new = self.config.with_suffix(".new")
        new.write_text(json.dumps({**self.values, "registrations": registrations}))
        new.replace(self.config)

    def client(self, http: httpx2.AsyncClient) -> Client:
        return Client(streamable_http_client(self.url, http_client=http))

    def caller(self, **headers: str) -> httpx2.AsyncClient:
        token = self.issuer.token(sub="id-7", preferred_username="learner", aud=[self.url])
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {token}", **sent}, verify=NO_TLS, trust_env=False
        )

    def status(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = ["serve", "prefix-gateway", "--config", str(self.config), "--status", *words]
        return subprocess.run(
            [sys.executable, "-m", "workshop", *argv],
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )

    def github_entry(self, **changes: Any) -> dict[str, Any]:
        return {**self.values["registrations"][0], **changes}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("gateway")
    issuer = Issuer(Clock(time.time()))
    github = Upstream(("get_me", "search"), refused="revoked")
    (folder / "key.pem").write_bytes(ec_pem())
    (folder / "words.py").write_text(STDIO)
    (folder / ".env").write_text("DISCOVERY=discovery-github\nWORDS=discovery-words\n")
    port, keys, upstream = free_port(), free_port(), free_port()

    async def jwks(_: object) -> JSONResponse:
        return JSONResponse(issuer.jwks())

    values: dict[str, Any] = {
        "url": f"http://localhost:{port}",
        "port": port,
        "issuer": ISSUER,
        "jwks_uri": f"http://localhost:{keys}/jwks",
        "signing_key_file": "key.pem",
        "registrations": [
            {
                "prefix": "github_",
                "url": f"http://localhost:{upstream}/mcp",
                "headers": {"X-MCP-Readonly": "true"},
                "credential_file": ".env#DISCOVERY",
                "credential_help": HELP,
                "user_header": "X-GitHub-PAT",
            },
            {
                "prefix": "words_",
                "name": "dictionary",
                "command": [sys.executable, str(folder / "words.py")],
                "environment": {"FIXED": "fixed"},
                "credential_file": ".env#WORDS",
                "credential_variable": "WORDS_KEY",
                "user_header": "X-Words-Key",
            },
        ],
    }
    config = folder / "gateway.json"
    config.write_text(json.dumps(values))
    app = Starlette(routes=[Route("/jwks", jwks)])
    with (
        in_thread(app, keys),
        in_thread(github.app(), upstream),
        served("prefix-gateway", config, port, {"NEVER": "of the gateway's own environment"}) as server,
    ):
        yield Site(config, server, issuer, github, values)


@pytest.fixture(autouse=True)
def as_before(site: Site) -> Iterator[None]:
    """Each test begins with the two registrations."""
    yield
    if site.config.read_text() != json.dumps(site.values):
        site.write(*site.values["registrations"])
        until(lambda: in_force(site) == ["github", "dictionary"])


async def test_tools_of_both_kinds_of_servers_are_listed_and_called(site: Site) -> None:
    async with site.caller(x_github_pat="mine", x_words_key="my-words") as http, site.client(http) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        me = await client.call_tool("github_get_me", {})
        whose = await client.call_tool("words_whose", {})
    assert names == {"github_get_me", "github_search", "words_whose"}
    assert text_of(me) == "mine"
    assert text_of(whose) == "my-words fixed None", "its own key, the fixed variable, and nothing of ours"


async def test_a_fixed_header_reaches_its_server_with_the_list_and_the_call(site: Site) -> None:
    site.github.seen.clear()
    async with site.caller(x_github_pat="mine", x_mcp_readonly="false") as http, site.client(http) as client:
        await client.list_tools()
        await client.call_tool("github_get_me", {})
    assert {seen.method for seen in site.github.seen} >= {"tools/list", "tools/call"}
    assert {seen.headers.get("x-mcp-readonly") for seen in site.github.seen} == {"true"}


async def test_a_refused_credential_is_explained(site: Site) -> None:
    async with site.caller(x_github_pat="revoked") as http, site.client(http) as client:
        result = await client.call_tool("github_get_me", {})
    assert result.is_error
    assert text_of(result) == (
        "github refuses your credential (HTTP 401), which your client sent in the header x-github-pat. "
        f"Get one at {HELP}. Replace it in your client's configuration, and call again."
    )
    assert "revoked" not in site.server.log


def test_status_shows_each_server_as_a_table_and_as_json(site: Site) -> None:
    done = site.status()
    assert done.returncode == 0, done.stderr
    head, github, words = done.stdout.splitlines()
    assert " ".join(head.split()) == "NAME PREFIX TARGET PATH READY TOOLS CREDENTIAL AGE REASON"
    assert github.split()[:7] == [
        *("github", "github_", urlsplit(site.github_entry()["url"]).netloc),
        *("/mcp", "True", "2", "x-github-pat"),
    ]
    assert words.split()[:2] == ["dictionary", "words_"]
    found = json.loads(site.status("--json").stdout)["registrations"]
    assert [(one["name"], one["ready"], one["tools"], one["reason"]) for one in found] == [
        ("github", True, 2, ""),
        ("dictionary", True, 1, ""),
    ]
    assert all(type(one["age"]) is int for one in found)


def test_status_gives_the_reason_why_a_server_is_not_ready(site: Site) -> None:
    site.write(
        site.github_entry(credential_file=str(credential(site, "revoked"))),
        {"prefix": "gone_", "url": f"http://localhost:{free_port()}/mcp"},
    )
    found = reloaded(site, "github", "gone")
    assert [(one["ready"], one["tools"]) for one in found] == [(False, 0), (False, 0)]
    assert found[0]["reason"] == "It refuses the discovery credential (HTTP 401)"
    assert found[1]["reason"].startswith("The server behind gone_ gives no usable answer")


def test_a_changed_secret_is_in_force_without_a_restart(site: Site) -> None:
    site.write(site.github_entry(credential_file=str(credential(site, "revoked"))))
    assert not reloaded(site, "github")[0]["ready"]
    before = site.server.log
    credential(site, "discovery-github")
    until(lambda: "registrations reloaded: github" in site.server.log.removeprefix(before))
    (found,) = reloaded(site, "github")
    assert (found["ready"], found["reason"]) == (True, "")


def credential(site: Site, value: str) -> Path:
    path = site.config.with_name("credential")
    new = path.with_suffix(".new")  # the gateway reads it at any moment
    new.write_text(value)
    return new.replace(path)


def in_force(site: Site) -> list[str]:
    """The names of the registrations that the gateway has, as its log shows them."""
    reloads = re.findall(r"registrations reloaded: (.+)$", site.server.log, re.MULTILINE)
    return reloads[-1].split(", ") if reloads else ["github", "dictionary"]


def reloaded(site: Site, *names: str) -> list[dict[str, Any]]:
    """The status, once the gateway has these registrations; the log is read, as each status is a process."""
    until(lambda: in_force(site) == list(names))
    found: list[dict[str, Any]] = json.loads(site.status("--json").stdout)["registrations"]
    assert [one["name"] for one in found] == list(names)
    return found


async def test_a_change_of_the_file_keeps_the_session_of_a_client(site: Site) -> None:
    async with site.caller(x_github_pat="mine") as http, site.client(http) as client:
        assert len((await client.list_tools()).tools) == 3
        site.write(site.github_entry(filter=["search"]))
        until(lambda: in_force(site) == ["github"])
        assert [tool.name for tool in (await client.list_tools()).tools] == ["github_search"]
        assert not (await client.call_tool("github_search", {})).is_error
        assert (await client.call_tool("github_get_me", {})).is_error
    assert "registrations reloaded: github" in site.server.log


async def test_a_mistake_in_the_changed_file_changes_nothing_and_is_logged_once(site: Site) -> None:
    site.write({"prefix": "GitHub", "url": "https://example.com/mcp"})
    until(lambda: "not reloaded: `registrations.1.prefix`" in site.server.log)
    async with site.caller() as http, site.client(http) as client:
        assert len((await client.list_tools()).tools) == 3
    assert site.server.log.count("not reloaded: `registrations.1.prefix`") == 1


def test_status_is_for_the_operator_only(site: Site) -> None:
    token = site.issuer.token(sub="id-7", preferred_username="learner", aud=[site.url])
    for sent in ("", f"Bearer {token}", "Bearer x.y.z"):
        answer = site.server.get("/status", authorization=sent)
        assert answer.status_code == 401
        assert "registrations" not in answer.text
    other = site.config.with_name("other.json")
    (other.parent / "other.pem").write_bytes(ec_pem())
    other.write_text(json.dumps({**site.values, "signing_key_file": "other.pem"}))
    argv = ["serve", "prefix-gateway", "--config", str(other), "--status"]
    done = subprocess.run(
        [sys.executable, "-m", "workshop", *argv], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 1
    assert "shows no status" in done.stderr
