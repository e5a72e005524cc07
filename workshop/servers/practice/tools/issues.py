"""`list_issues`, `issue_read`, and for clients that may write `issue_write` and `add_issue_comment`."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Literal

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from workshop.servers.practice import shapes
from workshop.servers.practice.catalog import ForbiddenError, Issue, NotFoundError, Repository
from workshop.servers.practice.state import ToolRequest
from workshop.servers.practice.tools import (
    DEFAULT_PER_PAGE,
    Owner,
    Page,
    PerPage,
    Repo,
    as_text,
    define,
    find_issue,
    find_repository,
    moment,
    not_found,
    page_of,
    request_of,
)

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
    """List the issues of a repository, newest first by default."""
    repository = find_repository(request_of(context), owner, repo)
    changed_after = None if since is None else moment(since)
    wanted = [issue for issue in repository.issues if _fits(issue, state, labels, changed_after)]
    wanted.sort(key=lambda issue: _key(issue, orderBy), reverse=direction != "ASC")
    start = _position(after)
    end = min(start + (perPage or DEFAULT_PER_PAGE), len(wanted))
    shown = [shapes.listed_issue(issue) for issue in wanted[start:end]]
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
    issue_number: Annotated[int, Field(description="The number after the #")],
    page: Page | None = None,
    perPage: PerPage | None = None,  # noqa: N803 - GitHub's name
) -> str:
    """Read one issue: its text, its comments or its labels."""
    request = request_of(context)
    repository, issue = find_issue(request, owner, repo, issue_number)
    people = {user.login: user for user in request.catalog.users}
    if method == "get":
        return as_text(shapes.issue_details(repository, issue, people[issue.author], request.url))
    if method == "get_comments":
        remarks = [(remark, people[remark.author]) for remark in page_of(list(issue.comments), page, perPage)]
        return as_text([shapes.issue_comment(repository, issue, *remark, request.url) for remark in remarks])
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
        # The number decides between equals, so that pages do not overlap.
        return len(issue.comments), issue.number
    when = issue.updated_at if order_by == "UPDATED_AT" else issue.created_at
    return when.timestamp(), issue.number


def _cursor(position: int) -> str:
    # Opaque to clients, like the cursors of GitHub's GraphQL API.
    return base64.b64encode(f"cursor:{position}".encode()).decode()


def _position(cursor: str | None) -> int:
    if cursor is None:
        return 0
    try:
        # Without a bound, `int` takes a sign, and a slice counts a negative position from the end.
        return max(0, int(base64.b64decode(cursor, validate=True).decode().removeprefix("cursor:")))
    except (binascii.Error, ValueError):
        raise ToolError("`after` is not a cursor of this list: use `endCursor` of the page before") from None


def issue_write(
    context: Context,
    *,
    method: Annotated[Literal["create", "update"], Field(description="A new issue, or a change of one")],
    owner: Owner,
    repo: Repo,
    issue_number: Annotated[int | None, Field(description="Which issue to change")] = None,
    title: Annotated[str | None, Field(description="Title; a new issue needs one")] = None,
    body: Annotated[str | None, Field(description="Text, in Markdown")] = None,
    labels: Annotated[list[str] | None, Field(description="All labels of the issue")] = None,
    assignees: Annotated[list[str] | None, Field(description="Logins of all assignees")] = None,
    state: Annotated[Literal["open", "closed"] | None, Field(description="New state")] = None,
    state_reason: Annotated[
        Literal["completed", "not_planned", "duplicate"] | None, Field(description="Why it is closed")
    ] = None,
) -> str:
    """Open an issue or change one. Changes last until the practice GitHub is reset or restarted."""
    request = request_of(context)
    before = _blank(request, title) if method == "create" else _existing(request, owner, repo, issue_number)
    edited = _edited(before, title, body, labels, assignees)
    if method == "create":
        repository, issue = _attempt(lambda: request.catalog.open_issue(request.caller, owner, repo, edited))
    else:
        changed = _in_state(edited, state, state_reason)
        repository, issue = _attempt(
            lambda: request.catalog.change_issue(request.caller, owner, repo, changed)
        )
    return as_text(_receipt(repository, issue, request.url))


def add_issue_comment(
    context: Context,
    *,
    owner: Owner,
    repo: Repo,
    issue_number: Annotated[int, Field(description="Which issue to comment on")],
    body: Annotated[str | None, Field(min_length=1, description="Text of the comment, in Markdown")] = None,
) -> str:
    """Write a comment on an issue. It lasts until the practice GitHub is reset or restarted."""
    request = request_of(context)
    # Optional in GitHub's schema, where a reaction can replace it; there are none here.
    if not body:
        raise ToolError("missing required parameter: body")
    text = body
    repository, issue = _attempt(
        lambda: request.catalog.comment(request.caller, owner, repo, issue_number, text)
    )
    number = issue.comments[-1].id
    url = f"{shapes.issue_url(repository, issue, request.url)}#issuecomment-{number}"
    return as_text({"id": str(number), "url": url})


def _blank(request: ToolRequest, title: str | None) -> Issue:
    if not title:
        raise ToolError("missing required parameter: title")
    now = datetime.now(UTC)
    return Issue(number=0, title=title, author=request.caller.login, body="", created_at=now, updated_at=now)


def _existing(request: ToolRequest, owner: str, repo: str, number: int | None) -> Issue:
    if number is None:
        raise ToolError("missing required parameter: issue_number")
    return replace(find_issue(request, owner, repo, number)[1], updated_at=datetime.now(UTC))


def _edited(
    issue: Issue,
    title: str | None,
    body: str | None,
    labels: list[str] | None,
    assignees: list[str] | None,
) -> Issue:
    return replace(
        issue,
        title=title or issue.title,
        body=issue.body if body is None else body,
        labels=issue.labels if labels is None else tuple(labels),
        assignees=issue.assignees if assignees is None else tuple(assignees),
    )


def _in_state(issue: Issue, state: str | None, reason: str | None) -> Issue:
    if state is None or state == issue.state:
        return issue
    if state == "open":
        return replace(issue, state="open", state_reason="reopened", closed_at=None)
    return replace(issue, state="closed", state_reason=reason or "completed", closed_at=issue.updated_at)


def _attempt(change: Callable[[], tuple[Repository, Issue]]) -> tuple[Repository, Issue]:
    try:
        return change()
    except NotFoundError as error:
        raise not_found(str(error)) from None
    except ForbiddenError as error:
        raise ToolError(f"403 Forbidden: {error}") from None


def _receipt(repository: Repository, issue: Issue, url: str) -> dict[str, str]:
    number = str(repository.id * 1000 + issue.number)
    return {"id": number, "url": shapes.issue_url(repository, issue, url)}


TOOLS = (
    define(list_issues, "issues", "List issues"),
    define(issue_read, "issues", "Get issue details"),
    define(issue_write, "issues", "Create or update issue/pull request", writes=True),
    define(add_issue_comment, "issues", "Add comment to issue or pull request", writes=True),
)
