"""The gateway with prefixes: who may use what, and whose credential goes where."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.servers.gateway.harness import NO_TLS
from tests.variations.prefix_gateway import ERAS, MODERN, Site, gateway, text_of

UNAUTHORIZED = {"error": "Unauthorized", "message": "Access denied: Authentication required."}
FORBIDDEN = {
    "error": "Forbidden",
    "message": "Access denied: Unsupported method. New authentication required (401).",
}
MISSING = {"error": "Bad Request", "message": "Missing required x-github-pat header"}
INVALID = {"error": "Bad Request", "message": "Invalid x-github-pat header"}
NOT_FOUND = "MCP error -32602: Tool not found"
PAT = "the-callers-own-credential"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with gateway(tmp_path_factory.mktemp("gateway")) as site:
        yield site


@pytest.fixture
def site(whole: Site) -> Site:
    whole.forget()
    return whole


async def names(site: Site, user: str = "learner", mode: str = "auto") -> list[str]:
    async with site.client(user, mode) as client:
        return [tool.name for tool in (await client.list_tools()).tools]


def challenge(site: Site) -> str:
    return f'resource_metadata="{site.origin}/.well-known/oauth-protected-resource/mcp"'


@pytest.mark.parametrize("method", ["initialize", "tools/list", "tools/call"])
async def test_nobody_gets_in_without_an_identity(site: Site, method: str) -> None:
    name = "github_get_me" if method == "tools/call" else ""
    answer = await site.ask(method, name, era="legacy", authorization=None, x_github_pat=PAT)
    assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert challenge(site) in answer.headers["www-authenticate"]
    assert site.touched() == []


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": ["http://localhost:1/mcp"]},
        {"iss": "https://somebody.example"},
        {"exp": 1},
        {"aud": None},
    ],
)
async def test_an_identity_for_somebody_else_is_none(site: Site, claims: dict[str, Any]) -> None:
    token = site.token(**claims)
    answer = await site.ask("tools/list", authorization=f"Bearer {token}")
    assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)
    assert challenge(site) in answer.headers["www-authenticate"]


async def test_the_users_credential_is_no_identity(site: Site) -> None:
    answer = await site.ask("tools/list", authorization=f"Bearer {PAT}", x_github_pat=PAT)
    assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)


async def test_the_metadata_names_the_gateway_and_the_outside_issuer(site: Site) -> None:
    async with httpx2.AsyncClient(verify=NO_TLS, trust_env=False) as http:
        document = (await http.get(f"{site.origin}/.well-known/oauth-protected-resource/mcp")).json()
    assert document["resource"] == site.url
    assert document["authorization_servers"] == ["https://issuer.example"]


@pytest.mark.parametrize("mode", ERAS)
async def test_tools_have_prefixes_and_are_listed_without_a_credential_of_the_callers(
    site: Site, mode: str
) -> None:
    found = await names(site, mode=mode)
    assert found == [
        "github_get_me",
        "github_search",
        "other_get_me",
        "other_echo",
        "notes_list_notes",
    ]


async def test_listing_takes_the_gateways_own_credential_whatever_the_caller_sends(site: Site) -> None:
    async with site.client(x_github_pat=PAT, x_other_key="another") as client:
        await client.list_tools()
    assert {seen.token for seen in site.github.seen} == {site.discovery("github")}
    assert {seen.token for seen in site.other.seen} == {site.discovery("other")}


@pytest.mark.parametrize("mode", ERAS)
async def test_a_call_takes_the_callers_credential_and_never_the_gateways(site: Site, mode: str) -> None:
    async with site.client(mode=mode, x_github_pat=PAT) as client:
        result = await client.call_tool("github_get_me", {})
    assert not result.is_error
    assert text_of(result) == PAT
    assert [(seen.tool, seen.token) for seen in site.github.called()] == [("get_me", PAT)]
    assert site.discovery("github") not in site.github.tokens("tools/call")


async def test_a_credential_reaches_its_own_upstream_and_nothing_else_does(site: Site) -> None:
    headers = {"x_github_pat": PAT, "x_other_key": "for-the-other", "cookie": "a=b", "x_api_key": "mine"}
    async with site.client(**headers) as client:
        for tool in ("github_get_me", "other_get_me", "notes_list_notes"):
            assert not (await client.call_tool(tool, {})).is_error
    identity = site.token()
    for upstream, foreign in (
        (site.github, "for-the-other"),
        (site.other, PAT),
        (site.notes, PAT),
        (site.notes, "for-the-other"),
    ):
        assert upstream.called()
        for seen in upstream.seen:
            assert not {"x-github-pat", "x-other-key", "cookie", "x-api-key"} & seen.headers.keys()
            assert foreign not in str(seen.headers)
            assert identity not in str(seen.headers)
            assert identity.split(".")[1] not in str(seen.headers)


async def test_the_gateway_vouches_for_the_caller_where_there_is_no_credential(site: Site) -> None:
    async with site.client("mentor") as client:
        result = await client.call_tool("notes_list_notes", {})
    async with httpx2.AsyncClient(verify=NO_TLS, trust_env=False) as http:
        keys = KeySet.import_key_set((await http.get(f"{site.origin}/.well-known/jwks.json")).json())
    token = jwt.decode(text_of(result), keys, algorithms=["ES256"])
    assert token.header["typ"] == "at+jwt"
    assert token.claims["iss"] == site.origin
    assert token.claims["sub"] == "id-of-mentor"
    assert token.claims["aud"] == [site.notes_url]
    assert token.claims["exp"] - token.claims["iat"] == 30


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("value", [None, ""])
async def test_a_call_without_the_callers_credential_is_a_bad_request(
    site: Site, value: str | None, era: str
) -> None:
    answer = await site.ask("tools/call", "github_get_me", era=era, x_github_pat=value)
    assert (answer.status_code, answer.json()) == (400, MISSING)
    assert site.touched() == []


@pytest.mark.parametrize(
    "value", ["two words", "tab\tbed", "a,b", "ünï".encode(), "Bearer x", "x" * 2049, "=only", '"quoted"']
)
@pytest.mark.parametrize("method", ["tools/call", "tools/list"])
async def test_a_credential_that_is_no_token_is_refused(site: Site, method: str, value: str | bytes) -> None:
    name = "github_get_me" if method == "tools/call" else ""
    answer = await site.ask(method, name, x_github_pat=value)
    assert (answer.status_code, answer.json()) == (400, INVALID)
    assert site.touched() == []


@pytest.mark.parametrize("control", [b"\x00", b"\x01", b"\n", b"\r", b"\r\n evil: 1", b"\x7f"])
async def test_a_control_character_in_a_credential_never_gets_through(site: Site, control: bytes) -> None:
    host = site.origin.removeprefix("http://")
    body = json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "github_get_me"}}
    )
    request = (
        (
            f"POST /mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {site.token()}\r\n"
            f"Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n"
        ).encode()
        + b"X-GitHub-PAT: abc"
        + control
        + b"def\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", int(host.rpartition(":")[2]))
    writer.write(request + body.encode())
    status = (await reader.read()).split(b" ", 2)[1]
    writer.close()
    await writer.wait_closed()
    assert status == b"400"
    assert site.touched() == []


async def test_two_credentials_for_one_upstream_are_refused(site: Site) -> None:
    headers = [("authorization", f"Bearer {site.token()}"), ("x-github-pat", PAT), ("x-github-pat", "other")]
    async with httpx2.AsyncClient(verify=NO_TLS, trust_env=False) as http:
        answer = await http.post(site.url, headers=headers, json={})
    assert (answer.status_code, answer.json()) == (400, INVALID)


async def test_a_credential_that_the_upstream_refuses_is_a_tool_error(site: Site) -> None:
    async with site.client(x_github_pat="revoked") as client:
        result = await client.call_tool("github_get_me", {})
    assert result.is_error
    assert text_of(result).startswith("github refuses your credential (HTTP 401)")
    assert "the header x-github-pat" in text_of(result)
    assert "revoked" not in text_of(result)


async def test_a_filtered_tool_is_hidden_and_refused(site: Site) -> None:
    assert "github_delete_repository" not in await names(site, "mentor")
    site.forget()
    async with site.client("mentor", x_github_pat=PAT) as client:
        result = await client.call_tool("github_delete_repository", {})
    assert (result.is_error, text_of(result)) == (True, NOT_FOUND)
    assert site.touched() == []


@pytest.mark.parametrize(
    "name",
    [
        "get_me",
        "delete_repository",
        "GITHUB_get_me",
        "github_GET_ME",
        "github-get_me",
        "github__get_me",
        "github_github_get_me",
        "github_other_get_me",
        "github_get_me ",
        " github_get_me",
        "github_get_me\x00",
        "github_\uff47et_me",
        "g\u0456thub_get_me",
        "github\uff3fget_me",
        "github_get_me\u200b",
        "nothing_get_me",
        "github_",
        "_get_me",
    ],
)
@pytest.mark.parametrize("era", ERAS)
async def test_no_other_spelling_gets_through(site: Site, name: str, era: str) -> None:
    answer = await site.ask("tools/call", name, era=era, x_github_pat=PAT)
    assert answer.status_code == 200
    assert NOT_FOUND in answer.text
    assert '"isError":true' in answer.text
    assert site.touched() == []


async def test_a_tool_of_one_upstream_is_not_called_under_the_prefix_of_another(site: Site) -> None:
    async with site.client(x_github_pat=PAT, x_other_key=PAT) as client:
        for name in ("other_delete_repository", "notes_get_me"):
            result = await client.call_tool(name, {})
            assert result.is_error
    assert site.github.seen == []


async def test_a_tool_for_some_is_neither_shown_to_others_nor_called_by_them(site: Site) -> None:
    assert "github_issue_write" not in await names(site, "learner")
    assert "github_issue_write" in await names(site, "mentor")
    site.forget()
    answer = await site.ask("tools/call", "github_issue_write", x_github_pat=PAT)
    assert (answer.status_code, answer.json()) == (401, FORBIDDEN)
    assert challenge(site) in answer.headers["www-authenticate"]
    assert site.touched() == []
    async with site.client("mentor", x_github_pat=PAT) as client:
        assert not (await client.call_tool("github_issue_write", {})).is_error


async def test_an_identity_without_a_user_name_may_use_what_everybody_may(site: Site) -> None:
    token = site.token(preferred_username=None)
    for name, status in (("github_get_me", 200), ("github_issue_write", 401)):
        answer = await site.ask("tools/call", name, authorization=f"Bearer {token}", x_github_pat=PAT)
        assert answer.status_code == status


async def test_an_upstream_that_is_down_takes_nothing_else_with_it(site: Site) -> None:
    async with site.client(x_github_pat=PAT) as client:
        assert "github_get_me" in [tool.name for tool in (await client.list_tools()).tools]
        dead = await client.call_tool("gone_anything", {})
        alive = await client.call_tool("github_get_me", {})
    assert dead.is_error
    assert "The server behind gone_ gives no usable answer" in text_of(dead)
    assert text_of(alive) == PAT


async def test_an_upstream_that_speaks_no_mcp_is_reported_in_one_line(site: Site) -> None:
    async with site.client() as client:
        result = await client.call_tool("broken_anything", {})
    assert result.is_error
    assert text_of(result).startswith("MCP error -32700")
    assert "\n" not in text_of(result)


async def test_sessions_of_an_upstream_stay_behind_the_gateway(site: Site) -> None:
    answer = await site.ask("tools/call", "other_get_me", era="legacy", x_other_key="mine")
    assert "mine" in answer.text
    assert "mcp-session-id" not in answer.headers
    opened = [seen.headers["mcp-session-id"] for seen in site.other.called()]
    assert len(opened) == 1
    assert opened[0] not in answer.text
    assert [seen.method for seen in site.other.seen][-1] == "DELETE"
    again = await site.ask(
        "tools/call", "other_get_me", era="legacy", x_other_key="another", mcp_session_id=opened[0]
    )
    assert "another" in again.text
    assert "mine" not in again.text


async def test_calls_at_once_never_mix_their_callers(site: Site) -> None:
    async def ask(number: int) -> bool:
        answer = await site.ask("tools/call", "github_get_me", x_github_pat=f"credential-{number}")
        return f'"credential-{number}"' in answer.text

    assert all(await asyncio.gather(*(ask(number) for number in range(20))))
    assert len(site.github.tokens("tools/call")) == 20


@pytest.mark.parametrize(
    "body",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","method":"tools/list","params":{"name":"github_get_me"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call","params":{"name":"github_get_me"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","name":"github_get_me"}}',
        b'[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"github_get_me"}}]',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["github_get_me"]}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":["github_get_me"]}}',
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"github_get_me"}}'.encode("utf-16"),
        b"[" * 100_000,
        b"",
    ],
    ids=range(9),
)
async def test_no_body_calls_a_tool_without_a_credential(site: Site, body: bytes) -> None:
    answer = await site.send(body, {"authorization": f"Bearer {site.token()}"})
    assert answer.status_code < 500
    assert site.github.called() == []


async def test_a_header_that_names_another_tool_than_the_body_is_refused(site: Site) -> None:
    answer = await site.ask("tools/call", "github_get_me", mcp_name="notes_list_notes", x_github_pat=PAT)
    assert answer.status_code == 400
    assert site.touched() == []


async def test_a_body_without_bounds_is_refused(site: Site) -> None:
    answer = await site.send(b" " * (4 * 1024 * 1024 + 1), {"authorization": f"Bearer {site.token()}"})
    assert answer.status_code == 413


async def test_the_list_of_one_user_is_not_for_the_cache_of_another(site: Site) -> None:
    result = (await site.ask("tools/list")).json()["result"]
    assert result["cacheScope"] == "private"
    assert result["resultType"] == "complete"
    assert MODERN in (await site.ask("server/discover")).text


async def test_no_credential_is_logged(site: Site) -> None:
    async with site.client(x_github_pat=PAT) as client:
        await client.list_tools()
        await client.call_tool("github_get_me", {})
        for name in ("gone_anything", "broken_anything"):
            await client.call_tool(name, {})
    log = (site.programs.directory / "prefix-gateway" / "log.txt").read_text()
    assert "the tools of gone_ are not listed" in log
    assert "the tools of broken_ are not listed" in log
    assert "Traceback" not in log
    for secret in (PAT, site.token(), site.discovery("github"), site.discovery("other")):
        assert secret not in log
