"""GitHub's JSON shapes of issues and comments.

Sources: docs.github.com/rest/issues; github/github-mcp-server, pkg/github/minimal_types.go and issues.go.
"""

from collections.abc import Mapping
from urllib.parse import quote

from workshop.servers.practice.data import Comment, Issue, Repository, User
from workshop.servers.practice.shapes import Json, person, stamp


def listed(issue: Issue) -> Json:
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


def read(repo: Repository, item: Issue, author: User, url: str) -> Json:
    """The result of `issue_read` with method `get`."""
    return listed(item) | {
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
    """An issue in `GET /repos/{owner}/{repo}/issues`: nothing is left out, what is not there is null."""
    here = f"{url}/repos/{repo.full_name}/issues/{item.number}"
    assignees = [_account(people[login], url) for login in item.assignees]
    return found(repo, item, url) | {
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


def found(repo: Repository, item: Issue, url: str) -> Json:
    """An issue in `search_issues`: the REST shape."""
    labels = {label.name: label for label in repo.labels}
    return {
        "id": repo.id * 1000 + item.number,
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


def comment(repo: Repository, item: Issue, remark: Comment, author: User, url: str) -> Json:
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
    """Where the issue would have its page."""
    return f"{url}/{repo.full_name}/issues/{item.number}"


def association(repo: Repository, login: str) -> str:
    """What somebody is to a repository, in GitHub's words."""
    if login == repo.owner:
        return "OWNER"
    contributed = any(commit.author == login for commit in repo.commits)
    return "CONTRIBUTOR" if contributed else "NONE"
