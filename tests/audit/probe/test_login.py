"""`probe --login`: what shows with a token, and that the token goes to no other server."""

import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from mcp.shared.auth import OAuthClientInformationFull, OAuthMetadata, OAuthToken
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.cli.conftest import Workshop
from tests.environment import IsolatedInstance
from tests.serving import serve
from workshop.agent.events import ignore
from workshop.agent.token_store import Login, TokenStore
from workshop.audit.probe.model import (
    Answer,
    Evidence,
    McpAnswers,
    ResourceAnswers,
    SignedAnswers,
    Target,
)
from workshop.audit.probe.report import examine, judge
from workshop.audit.probe.requests import changed
from workshop.audit.sign_in import Signing
from workshop.core.errors import UsageError, WorkshopError
from workshop.core.ports import free_port

SECRET = "the-token-of-the-person"
URL = "http://localhost:1/mcp"


def url_of(instance: IsolatedInstance) -> str:
    return f"http://localhost:{instance.ports['github-remote']}/mcp"


def test_with_a_login_the_gateway_passes_what_needs_one(running: IsolatedInstance) -> None:
    done = running.run("probe", url_of(running), "--login", "--approve-as", "learner", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)["data"]
    passed = {remark["id"] for remark in report["passed"]}
    assert {"L1", "L2", "L4", "L5", "L6", "L7", "L8", "M2"} <= passed
    assert [finding["id"] for finding in report["findings"] if finding["id"].startswith("L")] == []
    (file,) = (running.directory / "logins").glob("*.json")
    tokens = json.loads(file.read_text())["tokens"]
    assert not any(tokens[name] in done.stdout + done.stderr for name in ("access_token", "refresh_token"))
    without = json.loads(running.run("probe", url_of(running), "--json").stdout)["data"]
    assert without.keys() == report.keys()
    assert not [remark for remark in without["passed"] if remark["id"].startswith("L")]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["http://mcp.example/mcp", "--login"], "No login at"),
        ([URL, "--approve-as", "learner"], "`--approve-as` needs `--login`"),
        ([URL, "--no-browser"], "`--no-browser` needs `--login`"),
    ],
)
def test_wrong_words_are_a_usage_error(workshop: Workshop, words: list[str], what: str) -> None:
    done = workshop("probe", *words)
    assert done.code == 2
    assert what in done.err


@dataclass
class Server:
    """An MCP server that notes the credentials that it is sent; with one, it redirects to `onward`."""

    port: int = field(default_factory=free_port)
    onward: str = ""
    redirects_all: bool = False
    resource: str = ""
    credentials: list[str] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/mcp"

    def app(self) -> Starlette:
        prm = "/.well-known/oauth-protected-resource"
        routes = [Route(path, self._resource) for path in (prm, f"{prm}/mcp")]
        routes.append(Route("/.well-known/oauth-authorization-server", self._metadata))
        return Starlette(
            routes=[*routes, Route("/{path:path}", self._mcp, methods=["GET", "POST", "DELETE"])]
        )

    async def _mcp(self, request: Request) -> Response:
        credential = request.headers.get("authorization", "")
        self.credentials.append(credential)
        if self.onward and (self.redirects_all or SECRET in credential):
            return RedirectResponse(self.onward, 307)
        challenge = f'Bearer resource_metadata="{self.origin}/.well-known/oauth-protected-resource/mcp"'
        return JSONResponse({"error": "unauthorized"}, 401, {"www-authenticate": challenge})

    async def _resource(self, _: Request) -> Response:
        return JSONResponse({"resource": self.resource or self.url, "authorization_servers": [self.origin]})

    async def _metadata(self, _: Request) -> Response:
        return JSONResponse(metadata_of(self.origin))


def metadata_of(origin: str) -> dict[str, Any]:
    return {
        "issuer": origin,
        **{f"{name}_endpoint": f"{origin}/{name}" for name in ("authorization", "token", "registration")},
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
    }


@dataclass
class Asked:
    """A person at the browser, who is not expected."""

    urls: list[str] = field(default_factory=list)
    way: Literal["printed"] = "printed"
    user: str = ""

    async def start(self, url: str) -> None:
        self.urls.append(url)
        raise AssertionError(url)


def signing(folder: Path, server: Server) -> Signing:
    """A signing whose store has a login at `server`."""
    store = TokenStore(folder / "logins")
    store.save(
        Login(
            resource=server.url,
            issuer=server.origin,
            client=OAuthClientInformationFull(client_id="agent", token_endpoint_auth_method="none"),
            authorization_server=OAuthMetadata.model_validate(metadata_of(server.origin)),
            tokens=OAuthToken(access_token=SECRET, expires_in=3600),
            expires_at=time.time() + 3600,
        )
    )
    return Signing(store, Asked(), ignore)


async def probed(server: Server, login: Signing) -> None:
    await examine(Target.parse(server.url), follow=False, signing=login)


async def test_a_server_that_redirects_with_the_token_does_not_pass_it_on(tmp_path: Path) -> None:
    other = Server()
    server = Server(onward=other.url)
    async with serve(server.app(), server.port), serve(other.app(), other.port):
        with pytest.raises(WorkshopError):
            await probed(server, signing(tmp_path, server))
    assert f"Bearer {SECRET}" in server.credentials, "the token was sent to the server that was named"
    assert other.credentials == []


async def test_a_server_that_redirects_at_once_is_not_where_the_agent_logs_in(tmp_path: Path) -> None:
    other = Server()
    server = Server(onward=other.url, redirects_all=True)
    async with serve(server.app(), server.port), serve(other.app(), other.port):
        with pytest.raises(WorkshopError, match="redirects to another address"):
            await probed(server, signing(tmp_path, other))
    assert not any(SECRET in each for each in [*server.credentials, *other.credentials])


async def test_a_server_that_names_another_resource_gets_no_token_of_it(tmp_path: Path) -> None:
    """It would collect the tokens of another server (RFC 9728 section 7.3)."""
    other = Server()
    server = Server(resource=other.url)
    login = signing(tmp_path, other)
    async with serve(server.app(), server.port), serve(other.app(), other.port):
        with pytest.raises(WorkshopError):
            await probed(server, login)
    assert not any(SECRET in each for each in [*server.credentials, *other.credentials])
    assert isinstance(login.approval, Asked)
    assert login.approval.urls == []


async def test_the_token_goes_to_https_or_to_this_machine_only(tmp_path: Path) -> None:
    login = signing(tmp_path, Server())
    with pytest.raises(UsageError, match="No login at"):
        await login.at("http://mcp.example/mcp", "http://mcp.example/mcp")


@pytest.mark.parametrize("token", ["a.b.cccccccccccccccc", "opaque", "x"])
def test_a_changed_token_differs_in_one_character_of_its_end(token: str) -> None:
    other = changed(token)
    assert len(other) == len(token)
    assert sum(one != two for one, two in zip(token, other, strict=True)) == 1
    assert other.rpartition(".")[0] == token.rpartition(".")[0]


def answer(status: int, *, carried_out: bool = False, **headers: str) -> Answer:
    body = {"jsonrpc": "2.0", "id": 1, "result": {}} if carried_out else {"error": "refused"}
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Answer("POST /mcp", URL, status, named, json.dumps(body))


DONE = answer(200, carried_out=True)
RIGHT = SignedAnswers(
    discover=DONE,
    initialize=answer(200, carried_out=True, mcp_session_id="0123456789abcdef"),
    origin=answer(403),
    host=answer(421),
    changed=answer(401),
    session=answer(401),
    claims={"aud": [URL]},
    seconds=3600,
    tools={"add": '{"name": "add"}'},
)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, set()),
        ({"discover": answer(401), "initialize": answer(403)}, {("L1", "medium")}),
        ({"changed": DONE}, {("L2", "high")}),
        ({"session": DONE}, {("L3", "high")}),
        ({"claims": {"aud": "https://other.example"}}, {("L4", "medium")}),
        ({"claims": {"iss": "x"}}, {("L4", "medium")}),
        ({"claims": {}}, set()),
        ({"seconds": 30 * 24 * 3600}, {("L5", "low")}),
        ({"seconds": None}, set()),
        ({"origin": DONE}, {("L6", "medium")}),
        ({"host": DONE}, {("L7", "medium")}),
        ({"tools": {"add": "Adds.\u200b", "sum": "\U000e0041"}}, {("L8", "medium")}),
        ({"tools": {"add": "\U0001f468\u200d\U0001f469"}}, set()),
    ],
)
def test_each_weakness_behind_a_login_is_found(changes: dict[str, Any], found: set[tuple[str, str]]) -> None:
    refused = answer(401, www_authenticate="Bearer")
    evidence = Evidence(
        Target(URL),
        McpAnswers(refused, refused),
        ResourceAnswers(),
        "",
        None,
        signed=replace(RIGHT, **changes),
    )
    findings = judge(evidence, ()).findings
    assert {(one.id, str(one.severity)) for one in findings if one.id.startswith("L")} == found
