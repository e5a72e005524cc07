"""GitHub's JSON shapes of people, repositories, commits and issues, in its REST API and its MCP server.

Sources: docs.github.com/rest; github/github-mcp-server, pkg/github (minimal_types.go, context_tools.go,
issues.go).
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from workshop.servers.practice.catalog import Catalog, Comment, Commit, Issue, Repository, User
from workshop.servers.practice.tokens import Caller

Json = dict[str, Any]


def stamp(moment: datetime) -> str:
    """A date as GitHub writes it: UTC, seconds, Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pick(items: Iterable[Json], fields: Iterable[str] | None) -> list[Json]:
    """Each item with only these fields; None means all."""
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
        # Nobody can change a practice profile.
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
    # GitHub's server leaves empty fields out (`omitempty` in its Go types).
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


def listed_issue(issue: Issue) -> Json:
    """An issue in `list_issues`: state in capitals, as GraphQL has it."""
    return {
        "number": issue.number,
        "title": issue.title,
        "body": issue.body,
        "state": issue.state.upper(),
        "user": {"login": issue.author},
        **({"labels": list(issue.labels)} if issue.labels else {}),
        "assignees": list(issue.assignees),
        **({"comments": len(issue.comments)} if issue.comments else {}),
        "created_at": stamp(issue.created_at),
        "updated_at": stamp(issue.updated_at),
    }


def issue_details(repo: Repository, item: Issue, author: User, url: str) -> Json:
    """The result of `issue_read` with method `get`."""
    return listed_issue(item) | {
        "state": item.state,
        **({"state_reason": item.state_reason} if item.state_reason else {}),
        "html_url": issue_url(repo, item, url),
        "user": person(author, url),
        "author_association": association(repo, item.author),
        **({"closed_at": stamp(item.closed_at)} if item.closed_at else {}),
        "has_parent": False,
        "has_children": False,
        "closed_by_pull_requests": {"total_count": 0, "references": []},
    }


def rest_issue(repo: Repository, item: Issue, people: Mapping[str, User], url: str) -> Json:
    """An issue in `GET /repos/{owner}/{repo}/issues`: every key is present, missing values are null."""
    here = f"{url}/repos/{repo.full_name}/issues/{item.number}"
    assignees = [_account(people[login], url) for login in item.assignees]
    return found_issue(repo, item, url) | {
        "node_id": f"I_{repo.id * 1000 + item.number}",
        "url": here,
        "labels_url": f"{here}/labels{{/name}}",
        "comments_url": f"{here}/comments",
        "events_url": f"{here}/events",
        "user": _account(people[item.author], url),
        "labels": [_label(repo, name, url) for name in item.labels],
        "assignee": assignees[0] if assignees else None,
        "assignees": assignees,
        "milestone": None,
        "active_lock_reason": None,
        "state_reason": item.state_reason or None,
        "closed_at": stamp(item.closed_at) if item.closed_at else None,
    }


def _account(user: User, url: str) -> Json:
    return {
        "login": user.login,
        "id": user.id,
        "node_id": f"U_{user.id}",
        "avatar_url": "",
        "url": f"{url}/users/{user.login}",
        "html_url": f"{url}/{user.login}",
        "type": "User",
        "site_admin": False,
    }


def _label(repo: Repository, name: str, url: str) -> Json:
    known = next((label for label in repo.labels if label.name == name), None)
    return {
        "name": name,
        "url": f"{url}/repos/{repo.full_name}/labels/{quote(name)}",
        "color": known.color if known else "ededed",
        "description": known.description if known else None,
        "default": False,
    }


def found_issue(repo: Repository, item: Issue, url: str) -> Json:
    """An issue in `search_issues`: the REST shape."""
    labels = {label.name: label for label in repo.labels}
    return {
        "id": repo.id * 1000 + item.number,  # unique, as no repository here has 1,000 issues
        "number": item.number,
        "title": item.title,
        "body": item.body,
        "state": item.state,
        **({"state_reason": item.state_reason} if item.state_reason else {}),
        "locked": False,
        "html_url": issue_url(repo, item, url),
        "repository_url": f"{url}/repos/{repo.full_name}",
        "user": {"login": item.author, "type": "User"},
        "author_association": association(repo, item.author),
        "labels": [
            {"name": name, "color": labels[name].color if name in labels else "ededed"}
            for name in item.labels
        ],
        "assignees": [{"login": login} for login in item.assignees],
        "comments": len(item.comments),
        "created_at": stamp(item.created_at),
        "updated_at": stamp(item.updated_at),
        **({"closed_at": stamp(item.closed_at)} if item.closed_at else {}),
    }


def issue_comment(repo: Repository, item: Issue, remark: Comment, author: User, url: str) -> Json:
    """A comment in `issue_read` with method `get_comments`."""
    return {
        "id": remark.id,
        "body": remark.body,
        "html_url": f"{issue_url(repo, item, url)}#issuecomment-{remark.id}",
        "user": person(author, url),
        "author_association": association(repo, remark.author),
        "created_at": stamp(remark.created_at),
        "updated_at": stamp(remark.created_at),
    }


def issue_url(repo: Repository, item: Issue, url: str) -> str:
    """The address that the issue's page would have."""
    return f"{url}/{repo.full_name}/issues/{item.number}"


def association(repo: Repository, login: str) -> str:
    """The user's relation to a repository, as GitHub names it."""
    if login == repo.owner:
        return "OWNER"
    contributed = any(commit.author == login for commit in repo.commits)
    return "CONTRIBUTOR" if contributed else "NONE"
