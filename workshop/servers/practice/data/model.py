"""The things the practice GitHub holds: people, repositories, issues, commits, files."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property


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
    """A commit on a branch; its sha follows from its content, so it is the same on every machine."""

    repository: str
    message: str
    author: str
    date: datetime
    branch: str

    @cached_property
    def sha(self) -> str:
        text = f"{self.repository} {self.branch} {self.author} {self.date.isoformat()} {self.message}"
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
        """The commits of a branch, newest first: its own, then what the default branch had when it began."""
        own = tuple(commit for commit in self.commits if commit.branch == branch)
        if branch == self.default_branch or not own:
            return tuple(commit for commit in self.commits if commit.branch == self.default_branch)
        began = own[-1].date
        before = (commit for commit in self.history(self.default_branch) if commit.date < began)
        return (*own, *before)


@dataclass(frozen=True)
class DataSet:
    """Everything the practice GitHub knows when it starts."""

    users: Mapping[str, User]
    repositories: tuple[Repository, ...]
