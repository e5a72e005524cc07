"""Kuadrant's eleven steps to an external server, in order: its manifests as files of ours, and our gateway.

Source: `docs/guides/external-mcp-server.md` of Kuadrant/mcp-gateway. The manifests are held to the facts of
`kuadrant_crds.json`. What a person does in the other steps, and what the policies of steps 8 and 9 do, is
tried at our gateway, as `workshop part 4 run --variation prefix-gateway` starts it.
"""

import copy
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from joserfc import jwt
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.servers.gateway.harness import NO_TLS, ec_pem
from tests.variations.kuadrant_table import TABLE, key, resources
from tests.variations.prefix_gateway import ERAS, FOLDER, text_of
from workshop.auth.keys import SigningKey, load_signing_key
from workshop.course.connect import _connection
from workshop.course.lessons import find_variation
from workshop.course.variation_run import Running, variation_running
from workshop.servers.practice.client import RecordedRequest, fingerprint, read_requests
from workshop.toolhive.fields import _faults, kinds, read_table

PEOPLE = {"learner": "9000001", "mentor": "9000002"}
UNAUTHORIZED = {"error": "Unauthorized", "message": "Access denied: Authentication required."}
MISSING = {"error": "Bad Request", "message": "Missing required x-github-pat header"}
LEGACY = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25"}
HOST = "api.githubcopilot.com"
KNOWN = {**read_table(TABLE), "v1 Secret": kinds()["Secret"]}
COLUMNS = ["NAME", "PREFIX", "TARGET", "PATH", "READY", "TOOLS", "CREDENTIAL", "AGE", "REASON"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with variation_running(find_variation("prefix-gateway"), tmp_path_factory.mktemp("variation")) as found:
        yield found


def token(
    running: Running,
    user: str,
    audience: str = "",
    key: SigningKey | None = None,
    *,
    scope: str = "openid mcp:tools",
) -> str:
    """What the identity provider issues to that user, without its pages."""
    key = key or load_signing_key(running.secret("signing-key-identity"), "the identity provider's key")
    claims = {
        "iss": running.endpoints["prefix-gateway-identity"],
        "sub": PEOPLE[user],
        "aud": [audience or running.url],
        "exp": int(time.time()) + 60,
        "client_id": "test",
        "preferred_username": user,
        "scope": scope,
    }
    header = {"alg": key.algorithm, "typ": "at+jwt", "kid": key.kid}
    return jwt.encode(header, claims, key.key, algorithms=[key.algorithm])


@asynccontextmanager
async def client(running: Running, user: str, mode: str = "auto", *, pat: str = "") -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {token(running, user)}"}
    if pat:
        headers["x-github-pat"] = running.secret(f"pat-{pat}").decode()
    async with (
        httpx2.AsyncClient(headers=headers, verify=NO_TLS, trust_env=False) as http,
        Client(streamable_http_client(running.url, http_client=http), mode=mode) as found,
    ):
        yield found


async def called(running: Running, tool: str, **headers: str) -> httpx2.Response:
    """The answer to a call of a tool without arguments, made by hand."""
    params = {"name": tool, "arguments": {}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx2.AsyncClient(verify=NO_TLS, trust_env=False) as http:
        return await http.post(running.url, headers={**LEGACY, **sent}, json=body)


async def recorded(running: Running, method: str) -> list[RecordedRequest]:
    seen = await read_requests(running.endpoints["prefix-gateway-github"])
    return [request for request in seen if request.headers.get("mcp-method") == method]


def hashes(requests: list[RecordedRequest]) -> set[str]:
    return {str((request.authorization or {}).get("sha256")) for request in requests}


@pytest.mark.parametrize("mode", ERAS)
async def test_the_discovery_credential_lists_and_the_callers_calls(running: Running, mode: str) -> None:
    async with client(running, "learner", mode, pat="learner") as learner:
        names = [tool.name for tool in (await learner.list_tools()).tools]
        answer = json.loads(text_of(await learner.call_tool("github_get_me", {})))
    assert {"github_get_me", "github_list_issues", "notes_add_note"} < set(names)
    assert answer["login"] == "learner"
    mentor, own = (fingerprint(running.secret(f"pat-{user}").decode()) for user in ("mentor", "learner"))
    assert hashes(await recorded(running, "tools/list")) == {mentor}
    assert hashes(await recorded(running, "tools/call")) == {own}


async def test_no_upstream_saw_the_identity_or_the_header(running: Running) -> None:
    async with client(running, "learner", pat="learner") as learner:
        await learner.call_tool("github_get_me", {})
        await learner.call_tool("notes_list_notes", {})
    for request in await read_requests(running.endpoints["prefix-gateway-github"]):
        assert "x-github-pat" not in request.headers
        assert (request.authorization or {}).get("kind") == "practice token"


@pytest.mark.parametrize("mode", ERAS)
async def test_notes_belong_to_who_is_asking(running: Running, mode: str) -> None:
    async with client(running, "learner", mode) as learner, client(running, "mentor", mode) as mentor:
        for person, text in ((learner, f"L {mode}"), (mentor, f"M {mode}")):
            assert not (await person.call_tool("notes_add_note", {"text": text})).is_error
        mine = (await learner.call_tool("notes_list_notes", {})).structured_content
        theirs = (await mentor.call_tool("notes_list_notes", {})).structured_content
    assert mine is not None
    assert theirs is not None
    assert f"L {mode}" in mine["result"]
    assert not [text for text in mine["result"] if text.startswith("M")]
    assert not [text for text in theirs["result"] if text.startswith("L")]


async def test_a_note_without_text_and_one_too_long_are_refused(running: Running) -> None:
    async with client(running, "learner") as learner:
        for text in ("", "x" * 1001):
            assert (await learner.call_tool("notes_add_note", {"text": text})).is_error


async def test_the_writing_tool_is_the_mentors(running: Running) -> None:
    for user, there in (("learner", False), ("mentor", True)):
        async with client(running, user) as person:
            names = [tool.name for tool in (await person.list_tools()).tools]
        assert ("github_add_issue_comment" in names) is there


async def test_the_notes_believe_the_gateway_and_nobody_else(running: Running) -> None:
    notes = running.endpoints["prefix-gateway-notes"]
    forged = load_signing_key(ec_pem(), "another key")
    tokens = {
        "the identity provider": token(running, "learner", notes),
        "the client's own": token(running, "learner"),
        "another key": token(running, "learner", notes, forged),
        "a credential for GitHub": running.secret("pat-learner").decode(),
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    async with httpx2.AsyncClient(verify=NO_TLS, trust_env=False) as http:
        for whose, value in tokens.items():
            answer = await http.post(notes, headers={"Authorization": f"Bearer {value}"}, json=body)
            assert answer.status_code == 401, whose


async def test_a_token_without_the_scope_learns_which_one_is_missing(running: Running) -> None:
    headers = {"Authorization": f"Bearer {token(running, 'learner', scope='openid profile')}"}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    async with httpx2.AsyncClient(verify=NO_TLS, trust_env=False) as http:
        bare = await http.post(running.url, json=body)
        lacking = await http.post(running.url, headers=headers, json=body)
    assert (bare.status_code, lacking.status_code) == (401, 403)
    assert all('scope="mcp:tools"' in answer.headers["www-authenticate"] for answer in (bare, lacking))
    assert "insufficient_scope" in lacking.headers["www-authenticate"]


def resource(kind: str, name: str = "") -> dict[str, Any]:
    (found,) = (
        each for each in resources() if each["kind"] == kind and name in {"", each["metadata"]["name"]}
    )
    return found


def test_the_files_have_the_resources_in_the_order_of_the_steps() -> None:
    assert [each["kind"] for each in resources()] == [
        *("ServiceEntry", "DestinationRule", "HTTPRoute", "Secret", "MCPServerRegistration"),
        *("AuthPolicy", "AuthPolicy"),
    ]


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a resource, itself included."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(inner)


def named(resource: dict[str, Any]) -> str:
    return f"{resource['kind']} {resource['metadata']['name']}"


@pytest.mark.parametrize("manifest", resources(), ids=named)
def test_the_definitions_know_every_field_of_a_manifest_and_no_other(manifest: dict[str, Any]) -> None:
    known = KNOWN[key(manifest)]
    assert list(_faults(manifest, known, "")) == []
    for number, _ in enumerate(objects(manifest.get("spec"))):
        changed = copy.deepcopy(manifest)
        list(objects(changed["spec"]))[number]["misspelt"] = "x"
        assert list(_faults(changed, known, "")) != []


def test_step_1_a_service_entry_for_the_host() -> None:
    spec = resource("ServiceEntry")["spec"]
    assert (spec["hosts"], spec["location"], spec["resolution"]) == ([HOST], "MESH_EXTERNAL", "DNS")
    assert spec["ports"] == [{"name": "https", "number": 443, "protocol": "HTTPS"}]


def test_step_2_a_destination_rule_with_tls_under_the_hosts_name() -> None:
    spec = resource("DestinationRule")["spec"]
    assert (spec["host"], spec["trafficPolicy"]["tls"]) == (HOST, {"mode": "SIMPLE", "sni": HOST})


def test_step_3_a_route_that_rewrites_the_host_and_has_one_backend() -> None:
    spec = resource("HTTPRoute")["spec"]
    (rule,) = spec["rules"]
    assert rule["filters"] == [{"type": "URLRewrite", "urlRewrite": {"hostname": HOST}}]
    assert [(each["kind"], each["name"], each["port"]) for each in rule["backendRefs"]] == [
        ("Hostname", HOST, 443)
    ]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/mcp"}}]
    assert all(name.endswith(".mcp.local") for name in spec["hostnames"])


def test_step_4_a_secret_with_the_label_and_the_whole_header() -> None:
    secret = resource("Secret")
    assert secret["metadata"]["labels"] == {"mcp.kuadrant.io/secret": "true"}
    assert secret["stringData"]["token"].startswith("Bearer replace-with-")


def test_step_5_a_registration_that_refers_to_the_route_and_the_secret() -> None:
    registration = resource("MCPServerRegistration")
    spec = registration["spec"]
    assert registration["apiVersion"] == "mcp.kuadrant.io/v1"
    assert re.fullmatch(r"[a-z0-9][a-z0-9_]*", spec["prefix"])
    assert set(spec) <= {
        *("prefix", "targetRef", "path", "credentialRef", "state", "caCertSecretRef"),
        *("tokenURLElicitation", "userSpecificList", "category", "hint", "tags"),
    }
    assert spec["targetRef"]["name"] == resource("HTTPRoute")["metadata"]["name"]
    secret = resource("Secret")
    assert spec["credentialRef"]["name"] == secret["metadata"]["name"]
    assert spec["credentialRef"]["key"] in secret["stringData"]
    assert registration["metadata"]["namespace"] == secret["metadata"]["namespace"]


def test_step_6_the_registered_server_is_ready_with_its_tools(running: Running) -> None:
    file = running.directory / "prefix-gateway" / "config.json"
    argv = [sys.executable, "-m", "workshop", "serve", "prefix-gateway", "--config", str(file), "--status"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    head, github, _ = (line.split() for line in done.stdout.splitlines())
    assert head == COLUMNS
    target = urlsplit(running.endpoints["prefix-gateway-github"]).netloc
    assert github[:7] == ["github", "github_", target, "/mcp", "True", "5", "x-github-pat"]


async def test_step_7_a_client_without_the_header_lists_the_tools_and_cannot_call_one(
    running: Running,
) -> None:
    assert "headers" not in _connection("vscode", "prefix-gateway", running.url, {}).entry
    async with client(running, "learner") as learner:
        assert "github_get_me" in [tool.name for tool in (await learner.list_tools()).tools]
    before = len(await recorded(running, "tools/call"))
    answer = await called(running, "github_get_me", authorization=f"Bearer {token(running, 'learner')}")
    assert answer.status_code == 400
    assert answer.json()["message"] == "Missing required x-github-pat header"
    assert len(await recorded(running, "tools/call")) == before


async def test_step_8_a_policy_for_the_gateway_that_answers_as_ours_does(running: Running) -> None:
    spec = resource("AuthPolicy", "mcp-identity")["spec"]
    assert spec["targetRef"]["kind"] == "Gateway"
    assert [each["predicate"] for each in spec["when"]] == ["!request.path.startsWith('/.well-known/')"]
    refused = spec["rules"]["response"]["unauthenticated"]
    assert json.loads(refused["body"]["value"]) == UNAUTHORIZED
    assert "resource_metadata=https://" in refused["headers"]["WWW-Authenticate"]["value"]
    answer = await called(running, "github_get_me", x_github_pat=running.secret("pat-learner").decode())
    assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)
    named = re.search(r'resource_metadata="([^"]+)"', answer.headers["www-authenticate"])
    assert named is not None
    async with httpx2.AsyncClient(verify=NO_TLS, trust_env=False) as http:
        assert (await http.get(named[1])).json()["resource"] == running.url, "metadata needs no token"


async def test_step_9_the_callers_own_token_takes_the_place_of_the_identity(running: Running) -> None:
    spec = resource("AuthPolicy", "github-token")["spec"]
    assert spec["targetRef"]["kind"] == "HTTPRoute"
    assert spec["targetRef"]["name"] == resource("HTTPRoute")["metadata"]["name"]
    response = spec["rules"]["response"]
    assert response["unauthorized"]["code"] == 400
    assert json.loads(response["unauthorized"]["body"]["value"]) == MISSING
    assert MISSING["message"] == "Missing required x-github-pat header"
    (moved,) = response["success"]["headers"].items()
    assert moved == (
        "authorization",
        {"plain": {"expression": '"Bearer " + request.headers["x-github-pat"]'}},
    )
    identity = f"Bearer {token(running, 'learner')}"
    answer = await called(running, "github_get_me", authorization=identity)
    assert (answer.status_code, answer.json()) == (400, MISSING)
    own = running.secret("pat-learner").decode()
    moved_here = await called(running, "github_get_me", authorization=identity, x_github_pat=own)
    assert '\\"login\\":\\"learner\\"' in moved_here.text.replace(" ", "")
    assert fingerprint(own) in hashes(await recorded(running, "tools/call"))


def test_step_10_a_client_is_configured_with_the_header(running: Running) -> None:
    found = _connection("vscode", "prefix-gateway", running.url, {"x-github-pat": "/a/file"})
    assert found.entry["headers"] == {"x-github-pat": "${env:X_GITHUB_PAT}"}
    assert found.variables == {"X_GITHUB_PAT": "/a/file"}


async def test_step_11_the_policies_are_there_and_a_call_returns_the_callers_own_account(
    running: Running,
) -> None:
    page = (FOLDER / "README.md").read_text("utf-8").partition("\n## On Kuadrant\n")[2]
    for policy in (each["metadata"] for each in resources() if each["kind"] == "AuthPolicy"):
        assert f"kubectl get authpolicy {policy['name']} -n {policy['namespace']}" in page
    async with client(running, "learner", pat="learner") as learner:
        assert "github_get_me" in [tool.name for tool in (await learner.list_tools()).tools]
        answer = json.loads(text_of(await learner.call_tool("github_get_me", {})))
    assert answer["login"] == "learner"


def test_the_cleanup_deletes_all_seven_what_uses_a_thing_first() -> None:
    page = (FOLDER / "README.md").read_text("utf-8").partition("\n## On Kuadrant\n")[2]
    deleted = re.findall(r"^kubectl delete (\S+) (\S+) -n (\S+)( --ignore-not-found)?$", page, re.MULTILINE)
    there = {(each["kind"].lower(), each["metadata"]["name"]) for each in resources()}
    assert {(kind, name) for kind, name, _, _ in deleted} == there
    assert len(deleted) == 7
    for kind, name, namespace, ignoring in deleted:
        (found,) = (
            each for each in resources() if (each["kind"].lower(), each["metadata"]["name"]) == (kind, name)
        )
        assert found["metadata"]["namespace"] == namespace
        assert bool(ignoring) is (kind == "authpolicy")
    kinds = [kind for kind, *_ in deleted]
    assert kinds[:3] == ["mcpserverregistration", "httproute", "serviceentry"]
