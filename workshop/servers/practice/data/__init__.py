"""The practice data set: two people and their hobby projects, the same on every machine."""

import tomllib
from pathlib import Path
from types import MappingProxyType
from typing import Any

from workshop.servers.practice.data.model import Comment, Commit, DataSet, Issue, Label, Repository, User

__all__ = ["Comment", "Commit", "DataSet", "Issue", "Label", "Repository", "User", "load"]

_HERE = Path(__file__).parent


def load(directory: Path = _HERE) -> DataSet:
    """Read one folder a user: `user.toml` and one file a repository."""
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
