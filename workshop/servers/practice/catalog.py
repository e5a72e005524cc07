"""The current repositories and issues, and who may see and change them."""

from dataclasses import replace
from datetime import UTC, datetime

from workshop.servers.practice.data import Comment, DataSet, Issue, Repository, User
from workshop.servers.practice.tokens import Caller, grants

_FIRST_NEW_COMMENT = 930000


class NotFoundError(Exception):
    """It does not exist, or the caller may not see it: GitHub answers 404 to both."""


class ForbiddenError(Exception):
    """The caller may see it, but not change it."""


class Catalog:
    """Repositories and issues; changes are in memory until `restore`."""

    def __init__(self, data: DataSet) -> None:
        self._data = data
        self.restore()

    def restore(self) -> None:
        """Undo every change."""
        self._repositories = {
            repository.full_name.lower(): repository for repository in self._data.repositories
        }
        self._next_comment = _FIRST_NEW_COMMENT

    @property
    def users(self) -> tuple[User, ...]:
        return tuple(self._data.users.values())

    def user(self, login: str) -> User:
        """The account; raises NotFoundError if it does not exist."""
        try:
            return self._data.users[login.lower()]
        except KeyError:
            raise NotFoundError(login) from None

    def visible(self, caller: Caller) -> list[Repository]:
        """Public repositories, and the caller's private ones when the scope `repo` was granted."""
        return [repository for repository in self._repositories.values() if _may_see(caller, repository)]

    def public_count(self, login: str) -> int:
        """How many public repositories somebody owns."""
        return sum(item.owner == login and not item.private for item in self._repositories.values())

    def repository(self, caller: Caller, owner: str, name: str) -> Repository:
        """The repository; raises NotFoundError, also for another user's private repository."""
        repository = self._repositories.get(f"{owner}/{name}".lower())
        if repository is None or not _may_see(caller, repository):
            raise NotFoundError(f"{owner}/{name}")
        return repository

    def issue(self, caller: Caller, owner: str, name: str, number: int) -> tuple[Repository, Issue]:
        """The repository and the issue; raises NotFoundError if one does not exist."""
        repository = self.repository(caller, owner, name)
        for issue in repository.issues:
            if issue.number == number:
                return repository, issue
        raise NotFoundError(f"{owner}/{name}#{number}")

    def open_issue(self, caller: Caller, owner: str, name: str, draft: Issue) -> tuple[Repository, Issue]:
        """Add an issue under the next free number. Raises NotFoundError, ForbiddenError."""
        repository = self.repository(caller, owner, name)
        _require_scope(caller, repository)
        number = max((issue.number for issue in repository.issues), default=0) + 1
        issue = replace(draft, number=number, author=caller.login)
        return self._save(repository, issue), issue

    def change_issue(self, caller: Caller, owner: str, name: str, changed: Issue) -> tuple[Repository, Issue]:
        """Replace an issue, as its author or the repository's owner. Raises NotFoundError, ForbiddenError."""
        repository, issue = self.issue(caller, owner, name, changed.number)
        _require_scope(caller, repository)
        if caller.login not in {issue.author, repository.owner}:
            raise ForbiddenError(f"only {issue.author} and {repository.owner} may change this issue")
        return self._save(repository, changed), changed

    def comment(
        self, caller: Caller, owner: str, name: str, number: int, body: str
    ) -> tuple[Repository, Issue]:
        """Add a comment, the last of the returned issue. Raises NotFoundError, ForbiddenError."""
        repository, issue = self.issue(caller, owner, name, number)
        _require_scope(caller, repository)
        now = datetime.now(UTC)
        comment = Comment(id=self._next_comment, author=caller.login, created_at=now, body=body)
        self._next_comment += 1
        changed = replace(issue, comments=(*issue.comments, comment), updated_at=now)
        return self._save(repository, changed), changed

    def _save(self, repository: Repository, issue: Issue) -> Repository:
        others = [other for other in repository.issues if other.number != issue.number]
        issues = tuple(sorted([*others, issue], key=lambda item: -item.number))
        saved = replace(repository, issues=issues, updated_at=issue.updated_at)
        self._repositories[repository.full_name.lower()] = saved
        return saved


def _may_see(caller: Caller, repository: Repository) -> bool:
    return not repository.private or (caller.login == repository.owner and grants(caller.scopes, "repo"))


def _require_scope(caller: Caller, repository: Repository) -> None:
    wanted = "repo" if repository.private else "public_repo"
    if not grants(caller.scopes, wanted):
        raise ForbiddenError(f"the token lacks the scope {wanted}")
