"""People with their repositories and issues, the same on every machine, and who may see and change them.

`load` reads them from the files in `data/`; a `Catalog` has their current state, with every change.
"""

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from workshop.servers.practice.tokens import Caller, grants


@dataclass(frozen=True, kw_only=True)
class User:
    """A practice account."""

    login: str
    id: int
    name: str
    email: str
    bio: str
    location: str
    created_at: datetime
    followers: tuple[str, ...]
    following: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Label:
    """A label of a repository; `color` is six hexadecimal digits."""

    name: str
    color: str = "ededed"
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Comment:
    """A comment on an issue."""

    id: int
    author: str
    created_at: datetime
    body: str


@dataclass(frozen=True, kw_only=True)
class Issue:
    """An issue; `state` is `open` or `closed`."""

    number: int
    title: str
    author: str
    body: str
    created_at: datetime
    updated_at: datetime
    state: str = "open"
    state_reason: str | None = None
    closed_at: datetime | None = None
    labels: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()
    comments: tuple[Comment, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A commit on a branch; its sha is a hash of its content, so it is the same on every machine."""

    repository: str
    message: str
    author: str
    date: datetime
    branch: str

    @cached_property
    def sha(self) -> str:
        text = f"{self.repository} {self.branch} {self.author} {self.date.isoformat()} {self.message}"
        # SHA-1 gives the 40 digits of git; systems in FIPS mode allow it only with this flag.
        return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A repository with everything in it; issues newest first, commits newest first."""

    owner: str
    name: str
    id: int
    description: str
    language: str
    topics: tuple[str, ...]
    stars: int
    forks: int
    created_at: datetime
    pushed_at: datetime
    updated_at: datetime
    branches: tuple[str, ...]
    private: bool = False
    labels: tuple[Label, ...] = ()
    issues: tuple[Issue, ...] = ()
    commits: tuple[Commit, ...] = ()
    files: Mapping[str, str]

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"

    @property
    def default_branch(self) -> str:
        return self.branches[0]

    @property
    def open_issues(self) -> tuple[Issue, ...]:
        return tuple(issue for issue in self.issues if issue.state == "open")

    def history(self, branch: str) -> tuple[Commit, ...]:
        """The commits of a branch, newest first: its own, then those of the default branch before them."""
        own = tuple(commit for commit in self.commits if commit.branch == branch)
        # A branch without commits of its own is where the default branch is.
        if branch == self.default_branch or not own:
            return tuple(commit for commit in self.commits if commit.branch == self.default_branch)
        began = own[-1].date
        before = (commit for commit in self.history(self.default_branch) if commit.date < began)
        return (*own, *before)


@dataclass(frozen=True)
class DataSet:
    """All data of the practice GitHub at start."""

    users: Mapping[str, User]
    repositories: tuple[Repository, ...]


_DATA = Path(__file__).with_name("data")


def load(directory: Path = _DATA) -> DataSet:
    """Read one folder per user: `user.toml`, and one file per repository."""
    profiles = sorted(directory.glob("*/user.toml"))
    users = [_user(_read(profile)) for profile in profiles]
    repositories = [
        _repository(profile.parent.name, _read(path))
        for profile in profiles
        for path in sorted(profile.parent.glob("*.toml"))
        if path != profile
    ]
    return DataSet(MappingProxyType({user.login: user for user in users}), tuple(repositories))


def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _user(raw: dict[str, Any]) -> User:
    people = {key: tuple(raw[key]) for key in ("followers", "following")}
    return User(**{**raw, **people})


def _repository(owner: str, raw: dict[str, Any]) -> Repository:
    default_branch = raw["branches"][0]
    commits = [_commit(f"{owner}/{raw['name']}", default_branch, commit) for commit in raw["commits"]]
    parts = {
        "topics": tuple(raw["topics"]),
        "branches": tuple(raw["branches"]),
        "labels": tuple(Label(**label) for label in raw.get("labels", ())),
        "issues": tuple(sorted(map(_issue, raw.get("issues", ())), key=lambda issue: -issue.number)),
        "commits": tuple(sorted(commits, key=lambda commit: commit.date, reverse=True)),
        # Read-only, because `restore` returns to these very objects.
        "files": MappingProxyType({path: text.lstrip("\n") for path, text in raw["files"].items()}),
    }
    return Repository(owner=owner, **{**raw, **parts})


def _issue(raw: dict[str, Any]) -> Issue:
    parts = {
        "labels": tuple(raw.get("labels", ())),
        "comments": tuple(Comment(**comment) for comment in raw.get("comments", ())),
        "body": raw["body"].strip(),
    }
    return Issue(**{**raw, **parts})


def _commit(repository: str, default_branch: str, raw: dict[str, Any]) -> Commit:
    return Commit(repository=repository, **{"branch": default_branch, **raw})


_MODEL = "learner"
_FORMATS = ("GPX", "KML", "TCX", "FIT", "GeoJSON", "CSV")
_FACTOR = 10_000  # ids of copies: the original's, then the seat's number


def with_seats(found: DataSet, logins: Sequence[str]) -> DataSet:
    """The data set with one more user for each login: the learner's repositories, with another newest issue.

    No two users have the same answer to the tutorial's question.
    """
    models = [repository for repository in found.repositories if repository.owner == _MODEL]
    busiest = max(models, key=lambda repository: len(repository.open_issues)).name
    users, repositories = dict(found.users), list(found.repositories)
    for number, login in enumerate(logins, 1):
        name = login.replace("-", " ").capitalize()
        email = f"{login}@practice.example"
        person = replace(users[_MODEL], login=login, name=name, email=email)
        users[login] = replace(person, id=person.id * _FACTOR + number)
        for model in models:
            copy = _copied(model, login, number)
            repositories.append(_with_own_issue(copy, number) if model.name == busiest else copy)
    return DataSet(MappingProxyType(users), tuple(repositories))


def _copied(model: Repository, login: str, number: int) -> Repository:
    def whose(author: str) -> str:
        return login if author == _MODEL else author

    def comment(found: Comment) -> Comment:
        return replace(found, id=found.id * _FACTOR + number, author=whose(found.author))

    issues = [
        replace(
            issue,
            author=whose(issue.author),
            assignees=tuple(map(whose, issue.assignees)),
            comments=tuple(map(comment, issue.comments)),
        )
        for issue in model.issues
    ]
    commits = [
        # A commit's sha depends on its repository, so each copy has its own.
        replace(commit, repository=f"{login}/{model.name}", author=whose(commit.author))
        for commit in model.commits
    ]
    key = model.id * _FACTOR + number
    return replace(model, owner=login, id=key, issues=tuple(issues), commits=tuple(commits))


def _with_own_issue(repository: Repository, number: int) -> Repository:
    """The repository with a newest issue that only this seat has."""
    newest, *others = repository.issues
    rounds, which = divmod(number - 1, len(_FORMATS))
    title = f"{_FORMATS[which]} export drops waypoint {rounds + 2}"
    own = replace(newest, title=title, body=newest.body.replace("GPX", _FORMATS[which]))
    return replace(repository, issues=(own, *others))


_FIRST_NEW_COMMENT = 930000  # above the ids in `data/`, below those of copies


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
            # GitHub ignores the case of logins.
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
    # At GitHub, `public_repo` is enough to write to a public repository.
    wanted = "repo" if repository.private else "public_repo"
    if not grants(caller.scopes, wanted):
        raise ForbiddenError(f"the token lacks the scope {wanted}")
