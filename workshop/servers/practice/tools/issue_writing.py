"""`issue_write` and `add_issue_comment`: gone when the client asks for read-only."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Literal

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from workshop.servers.practice import issue_shapes
from workshop.servers.practice.catalog import ForbiddenError, NotFoundError
from workshop.servers.practice.data import Issue, Repository
from workshop.servers.practice.tools.offer import Owner, Repo, Visit, as_text, not_found, offer, visit_of
from workshop.servers.practice.tools.places import find_issue


def issue_write(
    context: Context,
    *,
    method: Annotated[Literal["create", "update"], Field(description="A new issue, or a change of one")],
    owner: Owner,
    repo: Repo,
    issue_number: Annotated[int | None, Field(description="Which issue to change")] = None,
    title: Annotated[str | None, Field(description="Title; a new issue needs one")] = None,
    body: Annotated[str | None, Field(description="Text, in Markdown")] = None,
    labels: Annotated[list[str] | None, Field(description="All labels it shall have")] = None,
    assignees: Annotated[list[str] | None, Field(description="Logins of all who shall work on it")] = None,
    state: Annotated[Literal["open", "closed"] | None, Field(description="New state")] = None,
    state_reason: Annotated[
        Literal["completed", "not_planned", "duplicate"] | None, Field(description="Why it is closed")
    ] = None,
) -> str:
    """Open an issue or change one. Changes last until the practice GitHub is reset or restarted."""
    visit = visit_of(context)
    before = _blank(visit, title) if method == "create" else _existing(visit, owner, repo, issue_number)
    edited = _edited(before, title, body, labels, assignees)
    if method == "create":
        repository, issue = _attempt(lambda: visit.catalog.open_issue(visit.caller, owner, repo, edited))
    else:
        changed = _in_state(edited, state, state_reason)
        repository, issue = _attempt(lambda: visit.catalog.change_issue(visit.caller, owner, repo, changed))
    return as_text(_receipt(repository, issue, visit.url))


def add_issue_comment(
    context: Context,
    *,
    owner: Owner,
    repo: Repo,
    issue_number: Annotated[int, Field(description="Which issue to comment on")],
    body: Annotated[str | None, Field(min_length=1, description="Text of the comment, in Markdown")] = None,
) -> str:
    """Write a comment on an issue. It lasts until the practice GitHub is reset or restarted."""
    visit = visit_of(context)
    if not body:
        raise ToolError("missing required parameter: body")
    text = body
    repository, issue = _attempt(lambda: visit.catalog.comment(visit.caller, owner, repo, issue_number, text))
    number = issue.comments[-1].id
    url = f"{issue_shapes.issue_url(repository, issue, visit.url)}#issuecomment-{number}"
    return as_text({"id": str(number), "url": url})


def _blank(visit: Visit, title: str | None) -> Issue:
    if not title:
        raise ToolError("missing required parameter: title")
    now = datetime.now(UTC)
    return Issue(number=0, title=title, author=visit.caller.login, body="", created_at=now, updated_at=now)


def _existing(visit: Visit, owner: str, repo: str, number: int | None) -> Issue:
    if number is None:
        raise ToolError("missing required parameter: issue_number")
    return replace(find_issue(visit, owner, repo, number)[1], updated_at=datetime.now(UTC))


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
    return {"id": number, "url": issue_shapes.issue_url(repository, issue, url)}


TOOLS = (
    offer(issue_write, "issues", "Create or update issue/pull request", writes=True),
    offer(add_issue_comment, "issues", "Add comment to issue or pull request", writes=True),
)
