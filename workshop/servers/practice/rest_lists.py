"""What GitHub's REST API does with a list: sort it, filter it, cut it into pages that link to each other."""

from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import urlencode

from starlette.requests import Request

from workshop.servers.practice.data import Issue, Repository

_MOST_PER_PAGE = 100
_PER_PAGE = 30
_SORTS = {
    "created": lambda repository: repository.created_at,
    "updated": lambda repository: repository.updated_at,
    "pushed": lambda repository: repository.pushed_at,
    "full_name": lambda repository: repository.full_name,
}
_ISSUE_SORTS = {
    "created": lambda issue: (issue.created_at, issue.number),
    "updated": lambda issue: (issue.updated_at, issue.number),
    "comments": lambda issue: (len(issue.comments), issue.number),
}
_Item = TypeVar("_Item", Repository, Issue)


def repositories_wanted(request: Request, repositories: Sequence[Repository]) -> list[Repository]:
    """In the order asked for; GitHub's default is by name."""
    name = request.query_params.get("sort", "full_name")
    name = name if name in _SORTS else "full_name"
    direction = request.query_params.get("direction") or ("asc" if name == "full_name" else "desc")
    return sorted(repositories, key=_SORTS[name], reverse=direction == "desc")


def issues_wanted(request: Request, issues: Sequence[Issue]) -> list[Issue]:
    """In the order and the states asked for; GitHub's defaults are open issues, the newest first."""
    asked = request.query_params
    state = asked.get("state") if asked.get("state") in {"closed", "all"} else "open"
    key = _ISSUE_SORTS.get(asked.get("sort", ""), _ISSUE_SORTS["created"])
    fitting = [issue for issue in issues if state in {issue.state, "all"}]
    return sorted(fitting, key=key, reverse=asked.get("direction") != "asc")


def page_of(request: Request, items: Sequence[_Item], url: str) -> tuple[Sequence[_Item], dict[str, str]]:
    """The items of the page asked for, and the header that links to the others."""
    size = _number(request, "per_page", _PER_PAGE, _MOST_PER_PAGE)
    page = _number(request, "page", 1)
    return items[(page - 1) * size : page * size], _links(url, request, page, -(-len(items) // size))


def _number(request: Request, name: str, default: int, most: int = 10**6) -> int:
    text = request.query_params.get(name, "")
    return max(1, min(int(text), most)) if text.isascii() and text.isdigit() else default


def _links(url: str, request: Request, page: int, pages: int) -> dict[str, str]:
    targets = {"prev": page - 1, "next": page + 1, "last": pages, "first": 1}
    wanted = {"prev", "first"} if page > 1 else set()
    wanted |= {"next", "last"} if page < pages else set()
    parameters = {name: value for name, value in request.query_params.items() if name != "page"}
    links = [
        f'<{url}?{urlencode({**parameters, "page": str(target)})}>; rel="{relation}"'
        for relation, target in targets.items()
        if relation in wanted
    ]
    return {"Link": ", ".join(links)} if links else {}
