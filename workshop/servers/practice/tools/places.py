"""Find what a call is about, for the person who calls; what cannot be seen is a tool error."""

from workshop.servers.practice.catalog import NotFoundError
from workshop.servers.practice.data import Commit, Issue, Repository
from workshop.servers.practice.tools.offer import Visit, not_found


def find(visit: Visit, owner: str, repo: str) -> Repository:
    """Raises ToolError when the caller cannot see such a repository."""
    try:
        return visit.catalog.repository(visit.caller, owner, repo)
    except NotFoundError:
        raise not_found(f"{owner}/{repo}") from None


def find_issue(visit: Visit, owner: str, repo: str, number: int) -> tuple[Repository, Issue]:
    """Raises ToolError when the caller cannot see such an issue."""
    try:
        return visit.catalog.issue(visit.caller, owner, repo, number)
    except NotFoundError:
        raise not_found(f"{owner}/{repo}#{number}") from None


def history(repository: Repository, ref: str | None) -> list[Commit]:
    """The commits a branch or a commit leads to, newest first. Raises ToolError when there is no such."""
    branch = ref or repository.default_branch
    if branch in repository.branches:
        return list(repository.history(branch))
    for name in repository.branches:
        commits = repository.history(name)
        for position, commit in enumerate(commits):
            if commit.sha == branch:
                return list(commits[position:])
    raise not_found(f"no branch or commit {branch} in {repository.full_name}")
