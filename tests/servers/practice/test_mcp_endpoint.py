"""The MCP endpoint through the SDK's own client, in both protocol eras."""

import json
from collections import Counter
from typing import Any

import anyio
import httpx2
import pytest
from mcp.shared.exceptions import MCPError

from tests.servers.practice.conftest import Practice, text_of

ERAS = ["legacy", "2026-07-28"]
READ = {
    "get_me",
    "search_users",
    "search_repositories",
    "search_issues",
    "list_commits",
    "list_branches",
    "get_file_contents",
    "list_issues",
    "issue_read",
}
WRITE = {"issue_write", "add_issue_comment"}


async def names(practice: Practice, path: str = "/mcp/", mode: str = "auto", **headers: str) -> set[str]:
    async with practice.mcp(practice.token(), mode, path, **headers) as client:
        return {tool.name for tool in (await client.list_tools()).tools}


async def call(client: Any, tool: str, **arguments: Any) -> Any:
    """What a tool answered, parsed."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return json.loads(text_of(result))


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("path", ["/mcp/", "/mcp"])
async def test_both_eras_list_all_tools_with_and_without_the_slash(
    practice: Practice, path: str, mode: str
) -> None:
    assert await names(practice, path, mode) == READ | WRITE


@pytest.mark.parametrize("mode", ERAS)
async def test_the_question_can_be_answered_with_three_calls(practice: Practice, mode: str) -> None:
    async with practice.mcp(practice.token(), mode) as client:
        login = (await call(client, "get_me"))["login"]
        found = (await call(client, "search_repositories", query=f"user:{login}"))["items"]
        most = max(found, key=lambda repo: repo["open_issues_count"])
        listed = await call(client, "list_issues", owner=login, repo=most["name"], state="OPEN", perPage=1)
    newest = listed["issues"][0]
    assert (most["name"], most["open_issues_count"]) == ("trail-mapper", 4)
    assert (newest["number"], newest["title"]) == (42, "GPX export drops the last waypoint")


@pytest.mark.parametrize("mode", ERAS)
async def test_two_users_at_once_never_see_each_other(practice: Practice, mode: str) -> None:
    seen: Counter[tuple[str, str]] = Counter()

    async def ask(login: str) -> None:
        async with practice.mcp(practice.token(login), mode) as client, anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(once, client, login)

    async def once(client: Any, login: str) -> None:
        seen[login, (await call(client, "get_me"))["login"]] += 1

    async with anyio.create_task_group() as group:
        for login in ("learner", "mentor", "learner", "mentor"):
            group.start_soon(ask, login)
    assert seen == {("learner", "learner"): 20, ("mentor", "mentor"): 20}


@pytest.mark.parametrize(
    "tool", ["issue_read", "list_issues", "list_commits", "list_branches", "get_file_contents"]
)
async def test_somebody_elses_private_repository_looks_as_if_it_were_not_there(
    practice: Practice, tool: str
) -> None:
    extra = {"method": "get", "issue_number": 2} if tool == "issue_read" else {}
    texts = []
    async with practice.mcp(practice.token("learner")) as client:
        for repo in ("room-notes", "no-such-thing"):
            result = await client.call_tool(tool, {"owner": "mentor", "repo": repo, **extra})
            assert result.is_error
            texts.append(text_of(result).replace(repo, "REPO"))
    assert texts[0] == texts[1]
    async with practice.mcp(practice.token("mentor")) as client:
        assert not (await client.call_tool(tool, {"owner": "mentor", "repo": "room-notes", **extra})).is_error


async def test_ones_own_private_repository_needs_the_scope_repo(practice: Practice) -> None:
    async with practice.mcp(practice.token("learner", "read:user")) as client:
        found = await call(client, "search_repositories", query="user:learner")
    assert {repo["name"] for repo in found["items"]} == {"trail-mapper", "bread-journal", "sensor-garden"}


@pytest.mark.parametrize(
    "authorization", [None, "Bearer practice_learner_aa_bb", "Bearer a.b.c", "Basic eDp5"]
)
@pytest.mark.parametrize("path", ["/mcp/", "/mcp", "/mcp/x/issues/readonly"])
async def test_without_a_good_token_there_is_a_challenge(
    practice: Practice, path: str, authorization: str | None
) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = await practice.browser.post(path, headers=headers, json={})
    challenge = answer.headers["www-authenticate"]
    assert answer.status_code == 401
    assert challenge.startswith(
        'Bearer error="invalid_token"' if authorization else 'Bearer error="invalid_request"'
    )
    assert (
        f'resource_metadata="http://localhost:8090/.well-known/oauth-protected-resource{path}"' in challenge
    )


async def test_the_metadata_of_the_challenge_names_the_resource(practice: Practice) -> None:
    answer = (await practice.browser.get("/.well-known/oauth-protected-resource/mcp/")).json()
    assert answer["resource"] == "http://localhost:8090/mcp/"
    assert answer["authorization_servers"] == ["http://localhost:8090/login/oauth"]


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        ("/mcp/", {"X-MCP-Readonly": "true"}, READ),
        ("/mcp/", {"X-MCP-Readonly": " Yes "}, READ),
        ("/mcp/", {"X-MCP-Readonly": "off"}, READ | WRITE),
        ("/mcp/", {"X-MCP-Readonly": ""}, READ | WRITE),
        ("/mcp/readonly", {}, READ),
        ("/mcp/readonly/", {"X-MCP-Readonly": "false"}, READ),
        ("/mcp/x/all/readonly", {}, READ),
        ("/mcp/x/issues", {}, {"search_issues", "list_issues", "issue_read"} | WRITE),
        ("/mcp/x/issues/readonly", {}, {"search_issues", "list_issues", "issue_read"}),
        ("/mcp/x/context", {}, {"get_me"}),
        ("/mcp/", {"X-MCP-Toolsets": " context , users,unknown"}, {"get_me", "search_users"}),
        ("/mcp/", {"X-MCP-Toolsets": "unknown"}, set()),
        ("/mcp/", {"X-MCP-Toolsets": ""}, READ | WRITE),
        ("/mcp/", {"X-MCP-Toolsets": "default"}, READ | WRITE),
    ],
)
@pytest.mark.parametrize("mode", ERAS)
async def test_paths_and_headers_select_tools(
    practice: Practice, path: str, headers: dict[str, str], expected: set[str], mode: str
) -> None:
    assert await names(practice, path, mode, **headers) == expected


@pytest.mark.parametrize("mode", ERAS)
async def test_a_tool_that_is_not_listed_cannot_be_called_either(practice: Practice, mode: str) -> None:
    async with practice.mcp(practice.token(), mode, "/mcp/readonly") as client:
        with pytest.raises(MCPError, match="unknown tool"):
            await client.call_tool(
                "issue_write", {"method": "create", "owner": "learner", "repo": "dotfiles", "title": "x"}
            )


@pytest.mark.parametrize(
    "path", ["/mcp/x/unknown", "/mcp/x", "/mcpx", "/mcp/elsewhere", "/mcp/x/issues/elsewhere"]
)
async def test_other_paths_are_not_found(practice: Practice, path: str) -> None:
    assert (await practice.browser.post(path, headers=practice.as_user())).status_code == 404


async def test_a_page_of_another_origin_is_refused(practice: Practice) -> None:
    headers = practice.as_user() | {
        "Origin": "http://evil.example",
        "Accept": "application/json, text/event-stream",
    }
    answer = await practice.browser.post(
        "/mcp/", headers=headers, json={"jsonrpc": "2.0", "id": 1, "method": "ping"}
    )
    assert answer.status_code == 403


async def test_no_session_is_kept_so_a_restart_interrupts_nobody(practice: Practice) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "get_me", "arguments": {}}}
    headers = practice.as_user() | {"Accept": "application/json, text/event-stream"}
    answer: httpx2.Response = await practice.browser.post("/mcp/", headers=headers, json=body)
    assert answer.status_code == 200
    assert "mcp-session-id" not in answer.headers
    assert "learner" in answer.text


async def test_a_client_may_not_cache_the_tools_across_users(practice: Practice) -> None:
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/list",
        "params": {
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            }
        },
    }
    headers = practice.as_user() | {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/list",
    }
    answer = await practice.browser.post("/mcp/", headers=headers, json=body)
    assert answer.json()["result"]["cacheScope"] == "private"
