"""`list_issues` and `issue_read`."""

import base64
import binascii
from datetime import datetime
from typing import Annotated, Literal

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from workshop.servers.practice import issue_shapes, shapes
from workshop.servers.practice.data import Issue, Repository
from workshop.servers.practice.tools.offer import (
    DEFAULT_PER_PAGE,
    Owner,
    Page,
    PerPage,
    Repo,
    as_text,
    moment,
    offer,
    page_of,
    visit_of,
)
from workshop.servers.practice.tools.places import find, find_issue

IssueField = Literal[
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
    "field_values",
]
OrderBy = Literal["CREATED_AT", "UPDATED_AT", "COMMENTS"]
Method = Literal["get", "get_comments", "get_sub_issues", "get_parent", "get_labels"]


def list_issues(
    context: Context,
    *,
    owner: Owner,
    repo: Repo,
    state: Annotated[Literal["OPEN", "CLOSED"] | None, Field(description="Both if left out")] = None,
    labels: Annotated[list[str] | None, Field(description="Only issues with one of these labels")] = None,
    since: Annotated[str | None, Field(description="Only issues changed after this date (ISO 8601)")] = None,
    orderBy: Annotated[OrderBy | None, Field(description="What to sort by; needs `direction`")] = None,  # noqa: N803 - GitHub's name
    direction: Annotated[Literal["ASC", "DESC"] | None, Field(description="Newest first is DESC")] = None,
    perPage: PerPage | None = None,  # noqa: N803 - GitHub's name
    after: Annotated[str | None, Field(description="`endCursor` of the page before")] = None,
    fields: Annotated[list[IssueField] | None, Field(description="Only these fields of each issue")] = None,
) -> str:
    """List the issues of a repository, newest first unless told otherwise."""
    repository = find(visit_of(context), owner, repo)
    changed_after = None if since is None else moment(since)
    wanted = [issue for issue in repository.issues if _fits(issue, state, labels, changed_after)]
    wanted.sort(key=lambda issue: _key(issue, orderBy), reverse=direction != "ASC")
    start = _position(after)
    end = min(start + (perPage or DEFAULT_PER_PAGE), len(wanted))
    shown = [issue_shapes.listed(issue) for issue in wanted[start:end]]
    info = {"hasNextPage": end < len(wanted), "hasPreviousPage": start > 0}
    cursors = {"startCursor": _cursor(start + 1), "endCursor": _cursor(end)} if shown else {}
    page = {"totalCount": len(wanted), "pageInfo": info | cursors}
    return as_text({"issues": shapes.pick(shown, fields)} | page)


def issue_read(
    context: Context,
    *,
    method: Annotated[
        Method,
        Field(description="What to read: the issue (get), its comments, labels, parent, or sub-issues"),
    ],
    owner: Owner,
    repo: Repo,
    issue_number: Annotated[int, Field(description="The number behind the #")],
    page: Page | None = None,
    perPage: PerPage | None = None,  # noqa: N803 - GitHub's name
) -> str:
    """Read one issue: its text, its comments or its labels."""
    visit = visit_of(context)
    repository, issue = find_issue(visit, owner, repo, issue_number)
    people = {user.login: user for user in visit.catalog.users}
    if method == "get":
        return as_text(issue_shapes.read(repository, issue, people[issue.author], visit.url))
    if method == "get_comments":
        remarks = [(remark, people[remark.author]) for remark in page_of(list(issue.comments), page, perPage)]
        return as_text([issue_shapes.comment(repository, issue, *remark, visit.url) for remark in remarks])
    if method == "get_labels":
        return as_text(_labels(repository, issue))
    return as_text([] if method == "get_sub_issues" else {"parent": None})


def _fits(issue: Issue, state: str | None, labels: list[str] | None, changed_after: datetime | None) -> bool:
    return (
        (state is None or issue.state.upper() == state)
        and (not labels or not set(labels).isdisjoint(issue.labels))
        and (changed_after is None or issue.updated_at >= changed_after)
    )


def _labels(repository: Repository, issue: Issue) -> dict[str, object]:
    labels = [label for label in repository.labels if label.name in issue.labels]
    shown = [{"name": label.name, "color": label.color, "description": label.description} for label in labels]
    return {"labels": shown, "totalCount": len(shown)}


def _key(issue: Issue, order_by: OrderBy | None) -> tuple[float, int]:
    if order_by == "COMMENTS":
        return len(issue.comments), issue.number
    when = issue.updated_at if order_by == "UPDATED_AT" else issue.created_at
    return when.timestamp(), issue.number


def _cursor(position: int) -> str:
    return base64.b64encode(f"cursor:{position}".encode()).decode()


def _position(cursor: str | None) -> int:
    if cursor is None:
        return 0
    try:
        return int(base64.b64decode(cursor, validate=True).decode().removeprefix("cursor:"))
    except (binascii.Error, ValueError):
        raise ToolError("`after` is not a cursor of this list: use `endCursor` of the page before") from None


TOOLS = (
    offer(list_issues, "issues", "List issues"),
    offer(issue_read, "issues", "Get issue details"),
)
