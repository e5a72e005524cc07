"""`list_commits` and `list_branches`."""

from typing import Annotated, Literal

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from workshop.servers.practice import shapes
from workshop.servers.practice.tools.offer import (
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
from workshop.servers.practice.tools.places import find, history

CommitField = Literal["sha", "html_url", "commit", "author", "committer"]


def list_commits(
    context: Context,
    *,
    owner: Owner,
    repo: Repo,
    sha: Annotated[str | None, Field(description="Branch or commit to start from")] = None,
    path: Annotated[str | None, Field(description="Only commits that touch this file")] = None,
    author: Annotated[str | None, Field(description="Only commits of this login or e-mail address")] = None,
    since: Annotated[str | None, Field(description="Only commits after this date (ISO 8601)")] = None,
    until: Annotated[str | None, Field(description="Only commits before this date (ISO 8601)")] = None,
    fields: Annotated[list[CommitField] | None, Field(description="Only these fields of each commit")] = None,
    page: Page | None = None,
    perPage: PerPage | None = None,  # noqa: N803 - GitHub's name
) -> str:
    """List the commits of a repository, newest first."""
    visit = visit_of(context)
    repository = find(visit, owner, repo)
    if path:
        raise ToolError("the practice GitHub does not know which files a commit touched: leave `path` out")
    people = {user.login: user for user in visit.catalog.users}
    commits = [
        commit
        for commit in history(repository, sha)
        if (author is None or author.lower() in {commit.author, people[commit.author].email})
        and (since is None or commit.date >= moment(since))
        and (until is None or commit.date <= moment(until))
    ]
    shown = [shapes.commit(commit, people, visit.url) for commit in page_of(commits, page, perPage)]
    return as_text(shapes.pick(shown, fields))


def list_branches(
    context: Context,
    *,
    owner: Owner,
    repo: Repo,
    page: Page | None = None,
    perPage: PerPage | None = None,  # noqa: N803 - GitHub's name
) -> str:
    """List the branches of a repository."""
    repository = find(visit_of(context), owner, repo)
    branches = [
        {"name": name, "sha": repository.history(name)[0].sha, "protected": name == repository.default_branch}
        for name in repository.branches
    ]
    return as_text(page_of(branches, page, perPage))


TOOLS = (
    offer(list_commits, "repos", "List commits"),
    offer(list_branches, "repos", "List branches"),
)
