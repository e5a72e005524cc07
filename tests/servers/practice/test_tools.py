"""What the tools answer: GitHub's shapes, its paging, its refusals.

Shapes: github/github-mcp-server at 64a49f34, pkg/github/minimal_types.go.
"""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from mcp.client import Client

from tests.servers.practice.conftest import Practice, text_of

TRAIL = {"owner": "learner", "repo": "trail-mapper"}


class Tools:
    """Calls tools and parses what they say."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def __call__(self, tool: str, **arguments: Any) -> Any:
        result = await self.client.call_tool(tool, arguments)
        assert not result.is_error, result.content
        assert result.structured_content is None
        return json.loads(text_of(result))

    async def refusal(self, tool: str, **arguments: Any) -> str:
        result = await self.client.call_tool(tool, arguments)
        assert result.is_error
        return text_of(result)


@pytest.fixture
async def tools(practice: Practice) -> AsyncIterator[Tools]:
    async with practice.mcp(practice.token()) as client:
        yield Tools(client)


async def numbers(tools: Tools, **arguments: Any) -> list[int]:
    return [issue["number"] for issue in (await tools("list_issues", **TRAIL, **arguments))["issues"]]


async def test_get_me_is_the_caller_with_details(tools: Tools) -> None:
    me = await tools("get_me")
    assert me.keys() == {"login", "id", "profile_url", "details"}
    assert {"name", "email", "public_repos", "followers", "following", "created_at", "updated_at"} <= me[
        "details"
    ].keys()
    assert me["details"]["public_repos"] == 3


async def test_search_repositories_has_the_minimal_shape(tools: Tools) -> None:
    found = await tools("search_repositories", query="user:learner trail")
    assert (found["total_count"], found["incomplete_results"]) == (1, False)
    assert found["items"][0].keys() == {
        "id",
        "name",
        "full_name",
        "description",
        "html_url",
        "language",
        "stargazers_count",
        "forks_count",
        "open_issues_count",
        "updated_at",
        "created_at",
        "topics",
        "private",
        "fork",
        "archived",
        "default_branch",
    }


async def test_the_full_shape_is_there_on_request(tools: Tools) -> None:
    found = await tools("search_repositories", query="repo:learner/trail-mapper", minimal_output=False)
    assert found["items"][0]["owner"]["login"] == "learner"


async def test_repositories_are_sorted_and_paged(tools: Tools) -> None:
    pages = [
        await tools(
            "search_repositories", query="user:@me", sort="updated", order="asc", perPage=3, page=page
        )
        for page in (1, 2, 3)
    ]
    names = [repo["name"] for page in pages for repo in page["items"]]
    assert names == ["dotfiles", "sensor-garden", "bread-journal", "trail-mapper"]
    assert {page["total_count"] for page in pages} == {4}


async def test_list_issues_has_the_graphql_shape_and_the_newest_first(tools: Tools) -> None:
    listed = await tools("list_issues", **TRAIL)
    assert listed.keys() == {"issues", "totalCount", "pageInfo"}
    assert [issue["number"] for issue in listed["issues"]] == [42, 41, 40, 37, 33, 29]
    assert {issue["state"] for issue in listed["issues"]} == {"OPEN", "CLOSED"}
    assert listed["issues"][0].keys() == {
        "number",
        "title",
        "body",
        "state",
        "user",
        "labels",
        "assignees",
        "comments",
        "created_at",
        "updated_at",
    }


async def test_issues_are_filtered_and_ordered(tools: Tools) -> None:
    assert await numbers(tools, state="OPEN") == [42, 41, 37, 29]
    assert await numbers(tools, state="CLOSED") == [40, 33]
    assert await numbers(tools, labels=["documentation"]) == [29]
    assert await numbers(tools, since="2026-10-01") == [42, 41]
    assert (await numbers(tools, orderBy="CREATED_AT", direction="ASC"))[0] == 29
    assert (await numbers(tools, orderBy="COMMENTS", direction="DESC"))[0] == 42
    assert (await numbers(tools, orderBy="UPDATED_AT", direction="DESC"))[:3] == [42, 41, 40]


async def test_issues_are_paged_with_cursors(tools: Tools) -> None:
    first = await tools("list_issues", **TRAIL, perPage=4)
    assert (first["pageInfo"]["hasNextPage"], first["pageInfo"]["hasPreviousPage"]) == (True, False)
    rest = await tools("list_issues", **TRAIL, perPage=4, after=first["pageInfo"]["endCursor"])
    assert [issue["number"] for issue in rest["issues"]] == [33, 29]
    assert (rest["pageInfo"]["hasNextPage"], rest["pageInfo"]["hasPreviousPage"]) == (False, True)
    assert "cursor" in await tools.refusal("list_issues", **TRAIL, after="?")
    before_all = base64.b64encode(b"cursor:-5").decode()
    assert (await tools("list_issues", **TRAIL, perPage=4, after=before_all))["issues"] == first["issues"]
    assert "ISO 8601" in await tools.refusal("list_issues", **TRAIL, since="yesterday")


async def test_only_the_wanted_fields_come_back(tools: Tools) -> None:
    listed = await tools("list_issues", **TRAIL, fields=["number", "field_values"], perPage=1)
    assert listed["issues"] == [{"number": 42}]


async def test_issue_read_gets_the_issue_its_comments_and_its_labels(tools: Tools) -> None:
    issue = await tools("issue_read", method="get", **TRAIL, issue_number=42)
    assert (issue["state"], issue["user"]["login"], issue["author_association"]) == (
        "open",
        "mentor",
        "CONTRIBUTOR",
    )
    assert issue["html_url"] == "http://localhost:8090/learner/trail-mapper/issues/42"
    comments = await tools("issue_read", method="get_comments", **TRAIL, issue_number=42)
    assert [comment["user"]["login"] for comment in comments] == ["learner", "mentor"]
    second = await tools("issue_read", method="get_comments", **TRAIL, issue_number=42, perPage=1, page=2)
    assert second == comments[1:]
    labels = await tools("issue_read", method="get_labels", **TRAIL, issue_number=42)
    assert (labels["totalCount"], labels["labels"][0]["name"]) == (1, "bug")
    assert await tools("issue_read", method="get_sub_issues", **TRAIL, issue_number=42) == []
    assert await tools("issue_read", method="get_parent", **TRAIL, issue_number=42) == {"parent": None}


async def test_a_closed_issue_says_when_and_why(tools: Tools) -> None:
    issue = await tools("issue_read", method="get", **TRAIL, issue_number=33)
    assert (issue["state"], issue["state_reason"], issue["closed_at"]) == (
        "closed",
        "not_planned",
        "2026-07-22T21:15:00Z",
    )


async def test_search_issues_finds_by_what_they_are_about(tools: Tools) -> None:
    found = await tools("search_issues", query="Where is the last waypoint when I export GPX?")
    assert (found["items"][0]["number"], found["items"][0]["repository_url"]) == (
        42,
        "http://localhost:8090/repos/learner/trail-mapper",
    )
    inside = await tools("search_issues", query="bug is:open", owner="learner", repo="bread-journal")
    assert [issue["number"] for issue in inside["items"]] == [12]
    by_date = await tools(
        "search_issues", query="user:learner is:open", sort="created", order="asc", fields=["number"]
    )
    assert by_date["items"][0] == {"number": 29}
    assert (await tools("search_issues", query="power strips"))["total_count"] == 0


async def test_list_commits_lists_a_branch_newest_first(tools: Tools) -> None:
    commits = await tools("list_commits", **TRAIL)
    assert commits[0]["commit"]["message"] == "Add the ridge loop sample"
    assert commits[0].keys() == {"sha", "html_url", "commit", "author", "committer"}
    branch = await tools("list_commits", **TRAIL, sha="offline-tiles", perPage=2)
    assert [commit["commit"]["message"] for commit in branch] == [
        "Keep tiles along a track in the browser cache",
        "Read route points as well as track points",
    ]
    assert await tools("list_commits", **TRAIL, sha=commits[2]["sha"]) == commits[2:]


async def test_commits_are_filtered_by_author_and_date(tools: Tools) -> None:
    by_mentor = await tools("list_commits", **TRAIL, author="mentor")
    assert [commit["commit"]["message"] for commit in by_mentor] == ["Print maps on A4 and Letter"]
    assert by_mentor == await tools("list_commits", **TRAIL, author="mentor@practice.example")
    spring = await tools(
        "list_commits", **TRAIL, since="2026-03-01", until="2026-06-01T00:00:00Z", fields=["sha"]
    )
    assert len(spring) == 2
    assert "leave `path` out" in await tools.refusal("list_commits", **TRAIL, path="README.md")
    assert "404" in await tools.refusal("list_commits", **TRAIL, sha="no-such-branch")


async def test_list_branches_names_their_heads(tools: Tools) -> None:
    branches = await tools("list_branches", **TRAIL)
    assert [branch["name"] for branch in branches] == ["main", "offline-tiles"]
    assert branches[0]["sha"] == (await tools("list_commits", **TRAIL, perPage=1))[0]["sha"]


async def test_a_file_comes_as_an_embedded_resource(tools: Tools) -> None:
    result = await tools.client.call_tool("get_file_contents", {**TRAIL, "path": "/src/export.ts"})
    note, file = result.content
    assert "SHA: " in note.text  # type: ignore[union-attr]
    assert file.type == "resource"
    assert file.resource.uri.endswith("/contents/src/export.ts")
    assert "waypoints.length - 1" in file.resource.text  # type: ignore[union-attr]


async def test_a_folder_is_listed_folders_first(tools: Tools) -> None:
    top = await tools("get_file_contents", **TRAIL)
    assert [(entry["type"], entry["name"]) for entry in top] == [
        ("dir", "samples"),
        ("dir", "src"),
        ("file", "README.md"),
    ]
    below = await tools(
        "get_file_contents", **TRAIL, path="src/", ref="refs/heads/offline-tiles", fields=["path"]
    )
    assert below == [{"path": "src/export.ts"}, {"path": "src/track.ts"}]
    assert "there are README.md" in await tools.refusal("get_file_contents", **TRAIL, path="secret.txt")
    assert "404" in await tools.refusal("get_file_contents", **TRAIL, ref="refs/heads/nowhere")


async def test_search_users_finds_people(tools: Tools) -> None:
    found = await tools("search_users", query="room")
    assert [user["login"] for user in found["items"]] == ["mentor"]
    joined = await tools("search_users", query="type:user", sort="joined", order="asc")
    assert [user["login"] for user in joined["items"]] == ["mentor", "learner"]


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("list_issues", {**TRAIL, "state": "NEW"}),
        ("list_issues", {**TRAIL, "perPage": 101}),
        ("list_issues", {"owner": "learner"}),
        ("issue_read", {**TRAIL, "method": "get", "issue_number": "x"}),
        ("issue_read", {**TRAIL, "method": "get", "issue_number": 4711}),
        ("search_repositories", {}),
    ],
)
async def test_arguments_that_do_not_fit_are_refused_with_a_reason(
    tools: Tools, tool: str, arguments: dict[str, Any]
) -> None:
    assert await tools.refusal(tool, **arguments)


async def test_an_issue_can_be_opened_changed_commented_and_closed(tools: Tools) -> None:
    receipt = await tools(
        "issue_write", method="create", **TRAIL, title="Show the sun", body="Please", labels=["bug"]
    )
    assert receipt.keys() == {"id", "url"}
    assert receipt["url"].endswith("/learner/trail-mapper/issues/43")
    comment = await tools("add_issue_comment", **TRAIL, issue_number=43, body="Today even")
    assert "#issuecomment-" in comment["url"]
    await tools(
        "issue_write", method="update", **TRAIL, issue_number=43, title="Show the moon", state="closed"
    )
    issue = await tools("issue_read", method="get", **TRAIL, issue_number=43)
    assert (issue["title"], issue["body"], issue["comments"]) == ("Show the moon", "Please", 1)
    assert (issue["state"], issue["state_reason"], issue["labels"]) == ("closed", "completed", ["bug"])
    await tools("issue_write", method="update", **TRAIL, issue_number=43, state="open")
    assert (await numbers(tools, state="OPEN"))[0] == 43


async def test_changes_are_gone_after_a_reset(practice: Practice, tools: Tools) -> None:
    await tools("issue_write", method="create", **TRAIL, title="Short-lived")
    practice.state.catalog.restore()
    assert await numbers(tools, state="OPEN") == [42, 41, 37, 29]


async def test_writing_needs_what_is_written(tools: Tools) -> None:
    assert "title" in await tools.refusal("issue_write", method="create", **TRAIL)
    assert "issue_number" in await tools.refusal("issue_write", method="update", **TRAIL, title="x")
    assert "body" in await tools.refusal("add_issue_comment", **TRAIL, issue_number=42)
    assert "404" in await tools.refusal("add_issue_comment", **TRAIL, issue_number=4711, body="x")
    assert "404" in await tools.refusal(
        "issue_write", method="create", owner="mentor", repo="room-notes", title="x"
    )


async def test_only_author_and_owner_change_an_issue_and_a_scope_is_needed(practice: Practice) -> None:
    async with practice.mcp(practice.token("mentor")) as client:
        refused = await Tools(client).refusal(
            "issue_write", method="update", **TRAIL, issue_number=41, title="x"
        )
        assert "403 Forbidden: only learner" in refused
        await Tools(client)("issue_write", method="update", **TRAIL, issue_number=42, title="Mine to change")
    async with practice.mcp(practice.token("learner", "read:user")) as client:
        refused = await Tools(client).refusal("add_issue_comment", **TRAIL, issue_number=42, body="x")
        assert "public_repo" in refused
