"""`GET /repos/{owner}/{repo}/issues`: GitHub's fields, order, pages, and its silence about the rest.

Source of the field names: docs.github.com/rest/issues/issues, "List repository issues", version 2022-11-28.
"""

from dataclasses import replace
from typing import Any

import httpx2
import pytest

from tests.servers.practice.conftest import Practice
from workshop.servers.practice.tokens import Caller

TRAIL_MAPPER = "/repos/learner/trail-mapper/issues"
REQUIRED = {
    "assignee",
    "author_association",
    "closed_at",
    "comments",
    "comments_url",
    "created_at",
    "events_url",
    "html_url",
    "id",
    "labels",
    "labels_url",
    "locked",
    "milestone",
    "node_id",
    "number",
    "repository_url",
    "state",
    "title",
    "updated_at",
    "url",
    "user",
}
OPTIONAL = {"active_lock_reason", "assignees", "body", "state_reason"}
ACCOUNT = {"login", "id", "node_id", "avatar_url", "url", "html_url", "type", "site_admin"}
NOT_FOUND = {
    "message": "Not Found",
    "documentation_url": "https://docs.github.com/rest/issues/issues#list-repository-issues",
    "status": "404",
}


async def ask(
    practice: Practice, path: str = TRAIL_MAPPER, user: str = "learner", scopes: str = "repo"
) -> httpx2.Response:
    return await practice.browser.get(path, headers=practice.as_user(user, scopes))


async def issues(practice: Practice, query: str = "") -> list[dict[str, Any]]:
    answer = await ask(practice, TRAIL_MAPPER + query)
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json()
    return found


async def test_every_issue_has_githubs_fields(practice: Practice) -> None:
    found = await issues(practice, "?state=all")
    assert {issue["state"] for issue in found} == {"open", "closed"}
    for issue in found:
        assert issue.keys() == REQUIRED | OPTIONAL
        assert issue["user"].keys() == ACCOUNT
        assert (issue["closed_at"] is None) == (issue["state"] == "open")
        assert {key for label in issue["labels"] for key in label} <= {
            "name",
            "url",
            "color",
            "description",
            "default",
        }


async def test_assignees_are_accounts_and_the_first_stands_alone_too(practice: Practice) -> None:
    learner, place = Caller("learner", ("repo",)), ("learner", "trail-mapper")
    newest = practice.state.catalog.repository(learner, *place).issues[0]
    practice.state.catalog.change_issue(learner, *place, replace(newest, assignees=("mentor", "learner")))
    issue = next(issue for issue in await issues(practice) if issue["number"] == newest.number)
    assert [account["login"] for account in issue["assignees"]] == ["mentor", "learner"]
    assert issue["assignee"] == issue["assignees"][0]
    assert issue["assignee"].keys() == ACCOUNT


async def test_the_open_ones_come_first_and_the_newest_on_top(practice: Practice) -> None:
    found = await issues(practice)
    assert found[0]["title"] == "GPX export drops the last waypoint"
    assert {issue["state"] for issue in found} == {"open"}
    assert [issue["created_at"] for issue in found] == sorted(
        (issue["created_at"] for issue in found), reverse=True
    )


@pytest.mark.parametrize(("state", "wanted"), [("closed", {"closed"}), ("evil", {"open"})])
async def test_the_state_is_the_one_asked_for(practice: Practice, state: str, wanted: set[str]) -> None:
    assert {issue["state"] for issue in await issues(practice, f"?state={state}")} == wanted


@pytest.mark.parametrize(("sort", "field"), [("comments", "comments"), ("updated", "updated_at")])
async def test_issues_can_be_sorted_and_turned_around(practice: Practice, sort: str, field: str) -> None:
    down = [issue[field] for issue in await issues(practice, f"?state=all&sort={sort}")]
    up = [issue[field] for issue in await issues(practice, f"?state=all&sort={sort}&direction=asc")]
    assert down == sorted(down, reverse=True)
    assert up == sorted(down)


async def test_pages_are_linked_with_the_question_kept(practice: Practice) -> None:
    answer = await ask(practice, f"{TRAIL_MAPPER}?state=all&per_page=2")
    assert len(answer.json()) == 2
    address = f"http://localhost:8090{TRAIL_MAPPER}?state=all&per_page=2&page=2"
    assert answer.headers["link"].startswith(f'<{address}>; rel="next"')


async def test_what_the_caller_may_not_see_is_not_found(practice: Practice) -> None:
    private = "/repos/learner/dotfiles/issues"
    assert (await ask(practice, private)).status_code == 200
    for answer in (
        await ask(practice, private, user="mentor"),
        await ask(practice, private, scopes="public_repo"),
        await ask(practice, "/repos/learner/nothing/issues"),
    ):
        assert (answer.status_code, answer.json()) == (404, NOT_FOUND)
        assert answer.headers["x-oauth-scopes"]


async def test_nobody_asks_without_a_token(practice: Practice) -> None:
    answer = await practice.browser.get(TRAIL_MAPPER)
    assert (answer.status_code, answer.json()["message"]) == (401, "Requires authentication")
