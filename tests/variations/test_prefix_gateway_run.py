"""The variation as it is run: with the practice identity provider, the practice GitHub, and the notes."""

import json
import runpy
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.servers.gateway.harness import NO_TLS, ec_pem
from tests.variations.prefix_gateway import ERAS, FOLDER, text_of
from workshop.auth.keys import SigningKey, load_signing_key
from workshop.core.errors import UsageError
from workshop.course.lessons import find_variation
from workshop.course.variation_run import Running, variation_running
from workshop.servers.practice.client import RecordedRequest, fingerprint, read_requests
from workshop.servers.variation.service import load

PEOPLE = {"learner": "9000001", "mentor": "9000002"}


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


async def test_without_the_header_the_list_is_there_and_a_call_is_a_bad_request(running: Running) -> None:
    async with client(running, "learner") as learner:
        assert "github_get_me" in [tool.name for tool in (await learner.list_tools()).tools]
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "github_get_me"}}
    headers = {"Authorization": f"Bearer {token(running, 'learner')}"}
    async with httpx2.AsyncClient(verify=NO_TLS, trust_env=False) as http:
        answer = await http.post(running.url, headers=headers, json=body)
    assert answer.status_code == 400
    assert answer.json()["message"] == "Missing required x-github-pat header"


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


GATEWAY = {
    "url": "https://gateway.example.com",
    "issuer": "https://id.example.com",
    "jwks_uri": "https://id.example.com/keys",
    "signing_key_file": "key.pem",
}


def registration(**changes: Any) -> dict[str, Any]:
    return {"prefix": "github_", "url": "https://example.com/mcp", **changes}


@pytest.mark.parametrize(
    ("registrations", "told"),
    [
        ([], "`registrations` in `FILE` is not a list with an entry"),
        ([registration(prefix="GitHub_")], "`registrations.1.prefix` in `FILE` does not match"),
        ([registration(prefix="_github")], "`registrations.1.prefix` in `FILE` does not match"),
        ([registration(prefix="")], "`registrations.1.prefix` in `FILE` does not match"),
        (
            [registration(), registration(prefix="github_extra_")],
            "`registrations` in `FILE` has the prefix 'github_extra_', which starts with 'github_'",
        ),
        (
            [registration(), registration()],
            "`registrations` in `FILE` has the prefix 'github_', which starts with 'github_'",
        ),
        ([registration(url="http://example.com/mcp")], "`registrations.1.url` in `FILE` must be https"),
        ([registration(url="file:///etc/passwd")], "must be an absolute http or https URL"),
        ([registration(filters=["get_me"])], "has the unknown key `registrations.1.filters`"),
        ([registration(filter="get_me")], "`registrations.1.filter` in `FILE` is not a list"),
        ([registration(only=["get_me"])], "`registrations.1.only` in `FILE` is not a table"),
        ([registration(only={"get_me": "mentor"})], "`registrations.1.only.get_me` in `FILE` is not a list"),
        ([registration(url=None)], "`registrations.1` in `FILE` needs either `url` or `command`"),
        ([registration(command=["x"])], "`registrations.1` in `FILE` needs either `url` or `command`"),
        ([registration(headers={"Authorization": "x"})], "cannot have Authorization: the gateway sets it"),
        (
            [registration(credential_file="/nowhere/pat")],
            "`registrations.1.credential_file` in `FILE` cannot be read: /nowhere/pat: No such file",
        ),
    ],
    ids=range(16),
)
def test_a_registration_that_is_wrong_is_named(
    registrations: list[dict[str, Any]], told: str, tmp_path: Path
) -> None:
    module = runpy.run_path(str(FOLDER / "registrations.py"))
    (tmp_path / "key.pem").write_bytes(ec_pem())
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**GATEWAY, "registrations": registrations}))
    with pytest.raises(UsageError) as caught:
        load(module["GatewayConfig"], path)
    assert told.replace("FILE", str(path)) in caught.value.what


def test_a_changed_file_replaces_the_registrations_and_a_mistake_in_it_does_not(tmp_path: Path) -> None:
    module = runpy.run_path(str(FOLDER / "registrations.py"))
    (tmp_path / "key.pem").write_bytes(ec_pem())
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**GATEWAY, "registrations": [registration()]}))
    registered = module["Registered"](load(module["GatewayConfig"], path), path)
    (before,) = registered()
    notes = {"prefix": "notes_", "command": ["notes"]}
    path.write_text(json.dumps({**GATEWAY, "registrations": [registration(), notes]}))
    registered.reload()
    same, added = registered()
    assert (same, added.target) == (before, ("notes", ""))
    assert registered.since(added) >= registered.since(same)
    path.write_text(json.dumps({**GATEWAY, "registrations": [{**notes, "headers": {"X-A": "b"}}]}))
    registered.reload()
    assert registered() == (same, added)


def test_a_wrong_configuration_ends_the_gateway_with_our_error(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    (tmp_path / "key.pem").write_bytes(ec_pem())
    path.write_text(json.dumps({**GATEWAY, "registrations": [{}]}))
    argv = [sys.executable, str(FOLDER / "server.py"), "--config", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"Error: `{path}` has no `registrations.1.prefix`" in done.stderr
    assert "Hint: *Use it for real* in the README of the variation describes every key" in done.stderr
    assert "Traceback" not in done.stderr
