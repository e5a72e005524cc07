"""The checks of a running proxy: they pass on the embedded backend, and each planted fault is named.

One embedded backend serves all of them; faults are planted in front of it, in the contract, or in a token
that is signed with the proxy's own key.
"""

import asyncio
import contextlib
import io
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from mcp.server.mcpserver import MCPServer
from starlette.responses import JSONResponse, Response

from tests.agent.conftest import log_in
from tests.lab.cluster.tampering import Tampering
from tests.serving import serve
from workshop.core.console import Console
from workshop.core.errors import CredentialsError, WorkshopError
from workshop.core.ports import free_port
from workshop.course.lessons import find_lessons
from workshop.lab import process
from workshop.lab.base import PRACTICE_CLIENT_ID, Choices
from workshop.lab.cluster.checks import (
    after_login,
    before_login,
    of_server,
    require,
)
from workshop.lab.cluster.endpoint_checks import (
    CheckResult,
    ProxyContract,
    ServerContract,
    ToolCall,
    calculation,
)
from workshop.lab.embedded import EmbeddedBackend
from workshop.toolhive.manifests import Resources
from workshop.toolhive.overrides import with_gateway_port, with_practice_github
from workshop.toolhive.secrets import SecretFiles, auth_configs

WHO_AM_I = ToolCall("get_me", {}, '"learner"')
METADATA = "/.well-known/oauth-protected-resource"
SERVER = "/.well-known/oauth-authorization-server"
KEYS = "/.well-known/jwks.json"


@dataclass(frozen=True)
class Site:
    """The embedded backend with parts 3 and 4, and a learner who is signed in."""

    resources: Resources
    secrets: SecretFiles
    practice: str
    pod: str
    server: ServerContract
    proxy: ProxyContract
    token: str

    def minted(self, **changes: Any) -> str:
        """A token signed with the proxy's own key; a change of None leaves the claim out."""
        ((kid, algorithm),) = self.proxy.algorithms.items()
        key = ECKey.import_key(self.secrets.path("github-remote-signing-key", "signing-key.pem").read_bytes())
        good = {
            "iss": self.proxy.issuer,
            "aud": [self.proxy.resource],
            "exp": int(time.time()) + 60,
            "tsid": "t",
        }
        claims = {name: value for name, value in (good | changes).items() if value is not None}
        return jwt.encode({"alg": algorithm, "kid": kid, "typ": "at+jwt"}, claims, key)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("instance")
    backend = EmbeddedBackend(directory)
    ports = {name: free_port() for name in ("workshop", "github-remote", "practice-github")}
    deployments = [found for lesson in find_lessons() if (found := lesson.deployment())]
    progress = Console(io.StringIO(), io.StringIO()).progress()
    try:
        with progress as bar:
            endpoints = backend.apply(deployments, Choices("practice", ports=ports), bar).endpoints
        part_3, part_4 = (deployment.resources for deployment in deployments)
        resources = with_gateway_port(part_4, "github-remote", ports["github-remote"])
        practice = f"http://localhost:{ports['practice-github']}"
        resources = with_practice_github(resources, practice, PRACTICE_CLIENT_ID)
        secrets = SecretFiles(directory / "secrets")
        yield Site(
            resources,
            secrets,
            practice,
            process.read_states(directory / "workloads")["workshop-0"].url,
            ServerContract.of(part_3.of("MCPServer")[0], part_3, endpoints["workshop"]),
            ProxyContract.of(resources.of("MCPRemoteProxy")[0], resources, secrets),
            asyncio.run(log_in(endpoints["github-remote"], directory / "logins")),
        )
    finally:
        with Console(io.StringIO(), io.StringIO()).progress() as bar:
            backend.teardown(bar)


def failed(results: list[CheckResult]) -> CheckResult:
    """The one check that has not passed: the last, with something to do about it."""
    assert all(result.passed for result in results[:-1])
    last = results[-1]
    assert not last.passed
    assert last.hint
    return last


async def test_before_a_login_everything_that_can_be_asked_passes(site: Site) -> None:
    results = require(await before_login(site.proxy), "github-remote")
    assert [result.id for result in results] == [
        "health",
        "protected-resource",
        "authorization-server",
        "signing-keys",
        "challenge",
    ]


async def test_after_a_login_token_tools_and_a_call_pass(site: Site) -> None:
    results = require(await after_login(site.proxy, site.token, WHO_AM_I), "github-remote")
    assert [result.id for result in results] == ["access-token", "tools", "call"]
    assert site.token not in str(results)


async def test_part_3_shows_its_tools_hides_the_others_and_calculates(site: Site) -> None:
    assert site.server.tools == {"list_repositories", "list_issues", "get_issue", "calculate"}
    assert site.server.hidden not in site.server.tools
    results = require(await of_server(site.server, calculation()), "workshop")
    assert [result.id for result in results] == ["tools", "call"]


@contextlib.asynccontextmanager
async def tampered(site: Site, **faults: Any) -> AsyncIterator[ProxyContract]:
    async with serve(Tampering(site.proxy.issuer, **faults).app()) as url:
        yield replace(site.proxy, base_url=url)


async def test_a_proxy_in_between_changes_nothing(site: Site) -> None:
    """Otherwise the tests below would find faults of their own making."""
    async with tampered(site) as contract:
        assert all(result.passed for result in await before_login(contract))
        assert all(result.passed for result in await after_login(contract, site.token, WHO_AM_I))


@pytest.mark.parametrize(
    ("path", "changes", "text"),
    [
        (METADATA, {"resource": "http://localhost:8080"}, "`resource` is 'http://localhost:8080', not"),
        (METADATA, {"authorization_servers": ["http://localhost:1/"]}, "`authorization_servers` is"),
        (SERVER, {"issuer": "http://localhost:8080/"}, "`issuer` is"),
        (SERVER, {"code_challenge_methods_supported": ["plain"]}, "without `S256`"),
        (SERVER, {"code_challenge_methods_supported": None}, "without `S256`"),
        (SERVER, {"token_endpoint_auth_methods_supported": ["client_secret_post"]}, "without `none`"),
        (SERVER, {"registration_endpoint": None}, "`registration_endpoint` is"),
        (SERVER, {"token_endpoint": "https://elsewhere.example/token"}, "not under http://localhost"),
        (KEYS, {"keys": None}, "no `keys`"),
        (KEYS, {"keys": []}, "The keys are none"),
    ],
)
async def test_a_document_that_says_something_else_is_reported(
    site: Site, path: str, changes: Mapping[str, Any], text: str
) -> None:
    async with tampered(site, changes={path: lambda document: {**document, **changes}}) as contract:
        missed = failed(await before_login(contract))
    assert text in missed.found
    assert (
        missed.id
        == {METADATA: "protected-resource", SERVER: "authorization-server", KEYS: "signing-keys"}[path]
    )


@pytest.mark.parametrize(
    ("path", "answer", "check", "text"),
    [
        ("/health", Response(status_code=503), "health", "503"),
        (METADATA, Response(status_code=404), "protected-resource", "answered 404"),
        (METADATA, Response("<html>"), "protected-resource", "is not JSON"),
        (SERVER, JSONResponse([]), "authorization-server", "not a JSON object"),
        (
            "/mcp",
            JSONResponse({"jsonrpc": "2.0", "id": 1, "result": {}}),
            "challenge",
            "answered 200, not 401",
        ),
        ("/mcp", Response(status_code=404), "challenge", "answered 404, not 401"),
        ("/mcp", Response(status_code=401), "challenge", "The 401 names no metadata"),
    ],
)
async def test_an_endpoint_that_answers_otherwise_is_reported(
    site: Site, path: str, answer: Response, check: str, text: str
) -> None:
    async with tampered(site, answers={path: answer}) as contract:
        missed = failed(await before_login(contract))
    assert missed.id == check
    assert text in missed.found


async def test_a_challenge_that_leads_elsewhere_is_reported(site: Site) -> None:
    lead = {"www-authenticate": 'Bearer resource_metadata="http://localhost:1/.well-known/x"'}
    async with tampered(site, answers={"/mcp": Response(status_code=401, headers=lead)}) as contract:
        assert "localhost:1" in failed(await before_login(contract)).found


async def test_a_pod_that_runs_on_an_old_secret_is_reported_by_its_key(site: Site, tmp_path: Path) -> None:
    (auth,) = auth_configs(site.resources)
    new = SecretFiles(tmp_path)
    new.generate(auth)
    contract = ProxyContract.of(site.resources.of("MCPRemoteProxy")[0], site.resources, new)
    missed = failed(await before_login(contract))
    assert missed.id == "signing-keys"
    assert "kubectl delete pod -n toolhive-system -l app.kubernetes.io/instance=github-remote" in missed.hint


async def test_a_private_key_that_is_published_is_reported(site: Site) -> None:
    async with tampered(
        site, changes={KEYS: lambda document: {"keys": [{**document["keys"][0], "d": "AAAA"}]}}
    ) as contract:
        assert "private key" in failed(await before_login(contract)).found


async def test_a_proxy_without_an_authorization_server_is_reported(site: Site) -> None:
    origin = site.server.url.removesuffix("/mcp")
    assert failed(await before_login(replace(site.proxy, base_url=origin))).id == "protected-resource"


async def test_nobody_at_the_port_and_somebody_silent_are_reported(site: Site) -> None:
    nobody = replace(site.proxy, base_url=f"http://localhost:{free_port()}")
    assert failed(await before_login(nobody)).found.startswith("No answer")
    missed = failed(await of_server(ServerContract(url=f"{nobody.base_url}/mcp")))
    assert "port-forward" in missed.hint, missed
    with socket.create_server(("127.0.0.1", 0)) as silent:
        contract = replace(site.proxy, base_url=f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert failed(await before_login(contract, seconds=0.2)).found.startswith("No answer")
        server = replace(site.server, url=f"{contract.base_url}/mcp")
        assert failed(await of_server(server, seconds=0.2)).id == "tools"


@pytest.mark.parametrize(
    ("changes", "text", "needs_login"),
    [
        ({"aud": ["http://localhost:1/"]}, "`aud` is", False),
        ({"aud": None}, "`aud` is None", False),
        ({"iss": "http://localhost:1"}, "`iss` is", False),
        ({"tsid": None}, "no `tsid`", False),
        ({"exp": 1}, "`exp` is 1, which is in the past", True),
        ({"exp": None}, "`exp` is None", True),
    ],
)
async def test_a_token_that_is_not_for_here_is_reported(
    site: Site,
    changes: Mapping[str, Any],
    text: str,
    needs_login: bool,  # noqa: FBT001 - a case's outcome
) -> None:
    token = site.minted(**changes)
    missed = failed(await after_login(site.proxy, token))
    assert (missed.id, missed.needs_login) == ("access-token", needs_login)
    assert text in missed.found
    assert token not in str(missed)


@pytest.mark.parametrize("token", ["", "opaque", "a.b.c"])
async def test_something_that_is_no_token_of_this_proxy_needs_a_login(site: Site, token: str) -> None:
    missed = failed(await after_login(site.proxy, token))
    assert (missed.id, missed.needs_login) == ("access-token", True)


async def test_a_token_of_before_the_keys_changed_needs_a_login(site: Site) -> None:
    other = ECKey.generate_key("P-256", private=True)
    (kid,) = site.proxy.algorithms
    token = jwt.encode({"alg": "ES256", "kid": kid}, {"iss": site.proxy.issuer}, other)
    assert failed(await after_login(site.proxy, token)).needs_login


async def test_a_proxy_that_forgot_the_sign_in_needs_a_login(site: Site) -> None:
    """As after every restart of a pod with memory storage: the token verifies, and nothing is behind it."""
    missed = failed(await after_login(site.proxy, site.minted(tsid="unknown", sub="x", jti="j", iat=1)))
    assert (missed.id, missed.needs_login) == ("tools", True)
    with pytest.raises(CredentialsError, match="fails the check `tools`"):
        require([missed], "github-remote")


async def test_a_proxy_that_passes_its_own_token_on_is_reported_as_the_known_defect(site: Site) -> None:
    """ToolHive's issue #6681: the practice GitHub receives the proxy's token and refuses it."""
    async with tampered(site, mcp_target=f"{site.practice}/mcp/") as contract:
        missed = failed(await after_login(contract, site.token))
    assert (missed.id, missed.needs_login) == ("tools", False)
    assert "The upstream itself refused" in missed.found
    assert "#6681" in missed.hint


async def test_no_tools_are_reported_as_the_known_defect_and_not_as_a_missing_login(site: Site) -> None:
    empty = MCPServer("empty").streamable_http_app(stateless_http=True)
    async with serve(empty) as url, tampered(site, mcp_target=f"{url}/mcp") as contract:
        missed = failed(await after_login(contract, site.token))
    assert (missed.id, missed.needs_login) == ("tools", False)
    assert "#6681" in missed.hint
    with pytest.raises(WorkshopError) as caught:
        require([missed], "github-remote")
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (ToolCall("get_me", {}, "somebody else"), "without 'somebody else'"),
        (ToolCall("list_issues", {"owner": "learner", "repo": "no-such"}), "answered with an error"),
        (ToolCall("no_such_tool", {}), "no_such_tool"),
    ],
)
async def test_a_call_that_fails_differs_from_the_tools(site: Site, call: ToolCall, text: str) -> None:
    missed = failed(await after_login(site.proxy, site.token, call))
    assert (missed.id, missed.needs_login) == ("call", False)
    assert text in missed.found


@pytest.mark.parametrize(
    ("status", "said"), [(403, "no such tool"), (421, "Invalid Host header"), (429, "slowly"), (503, "")]
)
async def test_other_refusals_are_reported_by_their_status(site: Site, status: int, said: str) -> None:
    async with tampered(site, answers={"/mcp": Response(said, status_code=status)}) as contract:
        missed = failed(await after_login(contract, site.token))
    assert f"{status}: {said}" in missed.found
    assert not missed.needs_login


async def test_a_server_without_its_filter_is_reported(site: Site) -> None:
    unfiltered = replace(site.server, url=site.pod)
    assert "not expected: slow_count" in failed(await of_server(unfiltered)).found
    found = failed(await of_server(replace(unfiltered, tools=frozenset()))).found
    assert f"A call of `{site.server.hidden}`, which is not listed, reaches the server" in found


async def test_a_filter_that_keeps_nothing_but_the_tools_is_no_fault(site: Site) -> None:
    """As ToolHive 0.44.0's: without `resultType` and `ttlMs`, which MCP 2026-07-28 requires."""

    def only_tools(answer: Any) -> Any:
        result = answer.get("result", {})
        return {**answer, "result": {"tools": result["tools"]}} if "tools" in result else answer

    server = MCPServer("one tool")
    server.add_tool(only_tools)
    app = server.streamable_http_app(stateless_http=True, json_response=True)
    async with serve(app) as url, serve(Tampering(url, changes={"/mcp": only_tools}).app()) as filtered:
        (result,) = await of_server(ServerContract(url=f"{filtered}/mcp"))
    assert (result.passed, result.found) == (True, "only_tools")
