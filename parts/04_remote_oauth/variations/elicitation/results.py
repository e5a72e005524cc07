"""What the tools show of an API's answers: JSON with a `status`; of a list, ten items and its length."""

from collections.abc import Mapping
from typing import Any

from workshop.auth import ApiAnswer, Operation

Json = dict[str, Any]
MOST = 10
_OK, _NO_CONTENT = range(200, 300), 204
_MESSAGES = ("message", "error_description", "detail", "title", "error")


def is_list(answer: ApiAnswer) -> bool:
    return answer.status in _OK and isinstance(answer.body, list)


def shown(upstream: str, operation: Operation, answer: ApiAnswer, total: int) -> Json:
    """The result of an operation: `success` with what it found, or `error` with the API's message."""
    name, body = operation.name, answer.body
    is_empty = body == "" and operation.method == "GET" and answer.status != _NO_CONTENT
    if answer.status not in _OK or body is None or is_empty:
        return failed(f"{upstream} answered {answer.status}: {_message(body) or 'nothing that can be read'}")
    if isinstance(body, dict):
        found = _profile(body) if name == "getUserProfile" else {"result": body} if "status" in body else body
        return {"status": "success", **found}
    if isinstance(body, list):
        what, one = _LISTS.get(name, ("items", None))
        items = [one(item) for item in body if isinstance(item, dict)] if one else body
        return {"status": "success", what: items[:MOST], "total_count": total}
    return {"status": "success", **({} if body == "" else {"result": body})}


def _message(body: object) -> str:
    """The API's own words for an error, from the usual fields (RFC 9457, RFC 6749, GitHub)."""
    if not isinstance(body, dict):
        return ""
    return next((body[name][:300] for name in _MESSAGES if isinstance(body.get(name), str)), "")


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
