"""GitHub's JSON shapes of people, repositories and commits, in its REST API and in its MCP server.

Sources: docs.github.com/rest; github/github-mcp-server, pkg/github/minimal_types.go and context_tools.go.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from workshop.servers.practice.catalog import Catalog
from workshop.servers.practice.data import Commit, Repository, User
from workshop.servers.practice.tokens import Caller

Json = dict[str, Any]


def stamp(moment: datetime) -> str:
    """A date as GitHub writes it: UTC, seconds, Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pick(items: Iterable[Json], fields: Iterable[str] | None) -> list[Json]:
    """Each item with only the wanted fields; None wants all."""
    if not fields:
        return list(items)
    wanted = list(fields)
    return [{field: item[field] for field in wanted if field in item} for item in items]


def rest_user(catalog: Catalog, caller: Caller, url: str) -> Json:
    """The body of `GET /user`."""
    user = catalog.user(caller.login)
    return {
        "login": user.login,
        "id": user.id,
        "avatar_url": "",
        "url": f"{url}/user",
        "html_url": f"{url}/{user.login}",
        "type": "User",
        "site_admin": False,
        **_profile(catalog, user),
        "updated_at": stamp(user.created_at),
    }


def _profile(catalog: Catalog, user: User) -> Json:
    return {
        "name": user.name,
        "company": None,
        "blog": "",
        "location": user.location,
        "email": user.email,
        "hireable": None,
        "bio": user.bio,
        "public_repos": catalog.public_count(user.login),
        "public_gists": 0,
        "followers": len(user.followers),
        "following": len(user.following),
        "created_at": stamp(user.created_at),
    }


def me(catalog: Catalog, caller: Caller, url: str) -> Json:
    """The result of `get_me`."""
    user = catalog.user(caller.login)
    profile = {name: value for name, value in _profile(catalog, user).items() if value not in (None, "")}
    details = profile | {"updated_at": stamp(user.created_at)}
    return person(user, url) | {"details": details}


def person(user: User, url: str) -> Json:
    """A user in a result of the MCP server."""
    return {"login": user.login, "id": user.id, "profile_url": f"{url}/{user.login}"}


def repository(repo: Repository, url: str) -> Json:
    """A repository in `search_repositories` with `minimal_output`."""
    return {
        "id": repo.id,
        "name": repo.name,
        "full_name": repo.full_name,
        "description": repo.description,
        "html_url": f"{url}/{repo.full_name}",
        "language": repo.language,
        "stargazers_count": repo.stars,
        "forks_count": repo.forks,
        "open_issues_count": len(repo.open_issues),
        "updated_at": stamp(repo.updated_at),
        "created_at": stamp(repo.created_at),
        **({"topics": list(repo.topics)} if repo.topics else {}),
        "private": repo.private,
        "fork": False,
        "archived": False,
        "default_branch": repo.default_branch,
    }


def rest_repository(repo: Repository, url: str) -> Json:
    """A repository in the REST API."""
    return repository(repo, url) | {
        "topics": list(repo.topics),
        "url": f"{url}/repos/{repo.full_name}",
        "owner": {"login": repo.owner, "type": "User"},
        "visibility": "private" if repo.private else "public",
        "pushed_at": stamp(repo.pushed_at),
        "open_issues": len(repo.open_issues),
    }


def commit(item: Commit, people: Mapping[str, User], url: str) -> Json:
    """A commit in `list_commits`."""
    author = people[item.author]
    signature = {"name": author.name, "email": author.email, "date": stamp(item.date)}
    return {
        "sha": item.sha,
        "html_url": f"{url}/{item.repository}/commit/{item.sha}",
        "commit": {"message": item.message, "author": signature, "committer": signature},
        "author": person(author, url),
        "committer": person(author, url),
    }
