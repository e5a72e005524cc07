"""Our tools have the names, argument names, types, bounds and enumerations of GitHub's.

Source: github/github-mcp-server at 64a49f34 (2026-08-20), pkg/github/__toolsnaps__/<tool>.snap.
`LEFT_OUT` lists GitHub's arguments that the practice GitHub has no use for.
"""

from typing import Any

import pytest

from workshop.servers.practice.mcp_server import ALL_TOOLS

TEXT: dict[str, Any] = {"type": "string"}
NUMBER: dict[str, Any] = {"type": "number"}
TEXTS: dict[str, Any] = {"type": "array", "items": TEXT}
PAGE = {"page": {"type": "number", "minimum": 1}, "perPage": {"type": "number", "minimum": 1, "maximum": 100}}
PLACE = {"owner": TEXT, "repo": TEXT}


def one_of(*values: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(values)}


def some_of(*values: str) -> dict[str, Any]:
    return {"type": "array", "items": one_of(*values)}


ORDER = one_of("asc", "desc")
STAMPS = ("created_at", "updated_at")
GITHUB: dict[str, tuple[list[str], dict[str, Any]]] = {
    "get_me": ([], {}),
    "search_users": (
        ["query"],
        {"query": TEXT, "sort": one_of("followers", "repositories", "joined"), "order": ORDER, **PAGE},
    ),
    "search_repositories": (
        ["query"],
        {
            "query": TEXT,
            "sort": one_of("stars", "forks", "help-wanted-issues", "updated"),
            "order": ORDER,
            "minimal_output": {"type": "boolean", "default": True},
            **PAGE,
        },
    ),
    "search_issues": (
        ["query"],
        {
            "query": TEXT,
            **PLACE,
            "sort": one_of(
                "comments",
                "reactions",
                "reactions-+1",
                "reactions--1",
                "reactions-smile",
                "reactions-thinking_face",
                "reactions-heart",
                "reactions-tada",
                "interactions",
                "created",
                "updated",
            ),
            "order": ORDER,
            "fields": some_of(
                "number",
                "title",
                "body",
                "state",
                "state_reason",
                "draft",
                "locked",
                "html_url",
                "user",
                "author_association",
                "labels",
                "assignee",
                "assignees",
                "milestone",
                "comments",
                "reactions",
                *STAMPS,
                "closed_at",
                "closed_by",
                "type",
                "repository_url",
                "pull_request",
                "field_values",
            ),
            **PAGE,
        },
    ),
    "list_issues": (
        ["owner", "repo"],
        {
            **PLACE,
            "after": TEXT,
            "direction": one_of("ASC", "DESC"),
            "fields": some_of(
                "number",
                "title",
                "body",
                "state",
                "user",
                "labels",
                "assignees",
                "comments",
                *STAMPS,
                "field_values",
            ),
            "labels": TEXTS,
            "orderBy": one_of("CREATED_AT", "UPDATED_AT", "COMMENTS"),
            "perPage": PAGE["perPage"],
            "since": TEXT,
            "state": one_of("OPEN", "CLOSED"),
        },
    ),
    "issue_read": (
        ["method", "owner", "repo", "issue_number"],
        {
            "method": one_of("get", "get_comments", "get_sub_issues", "get_parent", "get_labels"),
            **PLACE,
            "issue_number": NUMBER,
            **PAGE,
        },
    ),
    "list_commits": (
        ["owner", "repo"],
        {
            **PLACE,
            "sha": TEXT,
            "path": TEXT,
            "author": TEXT,
            "since": TEXT,
            "until": TEXT,
            "fields": some_of("sha", "html_url", "commit", "author", "committer"),
            **PAGE,
        },
    ),
    "list_branches": (["owner", "repo"], {**PLACE, **PAGE}),
    "get_file_contents": (
        ["owner", "repo"],
        {
            **PLACE,
            "path": {"type": "string", "default": "/"},
            "ref": TEXT,
            "sha": TEXT,
            "fields": some_of(
                "type", "name", "path", "size", "sha", "url", "git_url", "html_url", "download_url"
            ),
        },
    ),
    "issue_write": (
        ["method", "owner", "repo"],
        {
            "method": one_of("create", "update"),
            **PLACE,
            "issue_number": NUMBER,
            "title": TEXT,
            "body": TEXT,
            "labels": TEXTS,
            "assignees": TEXTS,
            "state": one_of("open", "closed"),
            "state_reason": one_of("completed", "not_planned", "duplicate"),
        },
    ),
    "add_issue_comment": (
        ["owner", "repo", "issue_number"],
        {**PLACE, "issue_number": NUMBER, "body": {"type": "string", "minLength": 1}},
    ),
}
LEFT_OUT = {
    "list_issues": {"field_filters"},
    "issue_write": {"duplicate_of", "issue_fields", "milestone", "type"},
    "add_issue_comment": {"comment_id", "reaction"},
}
TITLES = {
    "get_me": "Get my user profile",
    "search_users": "Search users",
    "search_repositories": "Search repositories",
    "search_issues": "Search issues",
    "list_issues": "List issues",
    "issue_read": "Get issue details",
    "list_commits": "List commits",
    "list_branches": "List branches",
    "get_file_contents": "Get file or directory contents",
    "issue_write": "Create or update issue/pull request",
    "add_issue_comment": "Add comment to issue or pull request",
}
OURS = {offered.tool.name: offered for offered in ALL_TOOLS}


def without_words(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != "description"}


def test_every_tool_of_ours_is_one_of_githubs() -> None:
    assert OURS.keys() == GITHUB.keys()


@pytest.mark.parametrize("name", GITHUB)
def test_arguments_are_githubs(name: str) -> None:
    required, properties = GITHUB[name]
    schema = OURS[name].tool.parameters
    assert schema["type"] == "object"
    assert set(schema.get("required", ())) == set(required)
    assert {key: without_words(value) for key, value in schema["properties"].items()} == properties
    assert not LEFT_OUT.get(name, set()) & schema["properties"].keys()


@pytest.mark.parametrize("name", GITHUB)
def test_every_argument_and_every_tool_is_described(name: str) -> None:
    tool = OURS[name].tool
    assert tool.description
    assert all(schema["description"] for schema in tool.parameters["properties"].values())


@pytest.mark.parametrize("name", GITHUB)
def test_annotations_are_githubs(name: str) -> None:
    annotations = OURS[name].tool.annotations
    assert annotations is not None
    assert annotations.title == TITLES[name]
    assert annotations.read_only_hint is (name not in {"issue_write", "add_issue_comment"})
    assert OURS[name].writes is not annotations.read_only_hint
