"""What the tools show of GitHub's answers: JSON with a `status`, at most ten items, and their number."""

from collections.abc import Mapping
from typing import Any

from workshop.auth import ApiAnswer, Outbound, count_items

Json = dict[str, Any]
MOST = 10
OK = 200


async def shown(outbound: Outbound, name: str, answer: ApiAnswer, token: str) -> Json:
    """The result of operation `name`: `success` with its items, or `error` with what GitHub said."""
    if answer.status != OK or not isinstance(answer.body, dict | list):
        message = answer.body.get("message") if isinstance(answer.body, dict) else None
        return failed(f"GitHub answered {answer.status}: {message or 'nothing that can be read'}")
    if isinstance(answer.body, dict):
        return {"status": "success", **(_profile(answer.body) if name == "getUserProfile" else answer.body)}
    items = [item for item in answer.body if isinstance(item, dict)]
    what, one = _LISTS.get(name, ("items", dict))
    total = await count_items(outbound, answer, token)
    return {"status": "success", what: [one(item) for item in items[:MOST]], "total_count": total}


def failed(message: str) -> Json:
    return {"status": "error", "message": message}


def _profile(user: Mapping[str, Any]) -> Json:
    same = {name: user.get(name) for name in ("name", "bio", "public_repos", "followers", "following")}
    return {"username": user.get("login"), **same, "profile_url": user.get("html_url")}


def _repository(repository: Mapping[str, Any]) -> Json:
    return {
        "name": repository.get("name"),
        "description": repository.get("description"),
        "url": repository.get("html_url"),
        "stars": repository.get("stargazers_count"),
        "language": repository.get("language"),
        "open_issues": repository.get("open_issues_count"),
    }


def _issue(issue: Mapping[str, Any]) -> Json:
    same = {name: issue.get(name) for name in ("number", "title", "state", "comments", "created_at")}
    labels = [label.get("name") for label in issue.get("labels") or () if isinstance(label, dict)]
    return {**same, "url": issue.get("html_url"), "labels": labels}


_LISTS = {"getUserRepos": ("repositories", _repository), "getRepoIssues": ("issues", _issue)}
