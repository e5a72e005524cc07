"""The part of GitHub's REST API that gateways and learners use: a user, repositories, issues."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from workshop.servers.practice import shapes
from workshop.servers.practice.catalog import Issue, NotFoundError, Repository
from workshop.servers.practice.faults import REFUSAL
from workshop.servers.practice.state import PracticeState
from workshop.servers.practice.tokens import Caller

_DOCUMENTATION = "https://docs.github.com/rest"
_NOT_FOUND = {
    "message": "Not Found",
    "documentation_url": f"{_DOCUMENTATION}/issues/issues#list-repository-issues",
    "status": "404",
}


@dataclass(frozen=True)
class Rest:
    """`GET /user`, `GET /user/repos` and `GET /repos/{owner}/{repo}/issues`, with GitHub's headers."""

    state: PracticeState

    def routes(self) -> list[Route]:
        return [
            Route("/user", self.user, methods=["GET"]),
            Route("/user/repos", self.repositories, methods=["GET"]),
            Route("/repos/{owner}/{repo}/issues", self.issues, methods=["GET"]),
        ]

    async def user(self, request: Request) -> Response:
        """The user of the token."""
        caller = self._caller(request)
        if isinstance(caller, Response):
            return caller
        return self._answer(caller, shapes.rest_user(self.state.catalog, caller, self.state.config.url))

    async def repositories(self, request: Request) -> Response:
        """The caller's repositories: per_page, page, sort, direction; more pages in the Link header."""
        caller = self._caller(request)
        if isinstance(caller, Response):
            return caller
        visible = self.state.catalog.visible(caller)
        owned = repositories_wanted(request, [item for item in visible if item.owner == caller.login])
        url = self.state.config.url
        shown, links = page_of(request, owned, f"{self.state.config.api_url}/user/repos")
        return self._answer(caller, [shapes.rest_repository(repository, url) for repository in shown], links)

    async def issues(self, request: Request) -> Response:
        """Issues of one repository, newest first: state, sort, direction, per_page, page."""
        caller = self._caller(request)
        if isinstance(caller, Response):
            return caller
        owner, name = request.path_params["owner"], request.path_params["repo"]
        try:
            repository = self.state.catalog.repository(caller, owner, name)
        except NotFoundError:
            return self._answer(caller, _NOT_FOUND, status=404)
        url, people = self.state.config.url, {user.login: user for user in self.state.catalog.users}
        wanted = issues_wanted(request, repository.issues)
        page = f"{self.state.config.api_url}/repos/{repository.full_name}/issues"
        shown, links = page_of(request, wanted, page)
        body = [shapes.rest_issue(repository, issue, people, url) for issue in shown]
        return self._answer(caller, body, links)

    def _caller(self, request: Request) -> Caller | Response:
        if status := request.scope.get(REFUSAL):
            return _refused(status)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not token:
            return _unauthorized("Requires authentication")
        # GitHub also accepts `token`, its older scheme.
        caller = self.state.tokens.verify(token.strip()) if scheme.lower() in {"bearer", "token"} else None
        if caller is None:
            return _unauthorized("Bad credentials")
        return Caller(self.state.acting(request, caller.login), caller.scopes)

    def _answer(
        self, caller: Caller, body: object, headers: dict[str, str] | None = None, *, status: int = 200
    ) -> Response:
        usage = self.state.rate_limits.count(caller.login)
        common = usage.headers() | {"X-OAuth-Scopes": ", ".join(caller.scopes), "X-Accepted-OAuth-Scopes": ""}
        if usage.exceeded:
            refused = {"message": "API rate limit exceeded", "documentation_url": _DOCUMENTATION}
            # GitHub answers 403, too, when the primary rate limit is exceeded.
            return JSONResponse(refused, status_code=403, headers=common)
        return JSONResponse(body, status_code=status, headers=common | (headers or {}))


def _unauthorized(message: str) -> Response:
    body = {"message": message, "documentation_url": _DOCUMENTATION, "status": "401"}
    return JSONResponse(body, status_code=401)


_MESSAGES = {
    "401": "Bad credentials",
    "403": "Resource not accessible by integration",
    "404": "Not Found",
    "429": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
}


def _refused(status: str) -> Response:
    """GitHub's answer with this status, for a fault."""
    body = {"message": _MESSAGES[status], "documentation_url": _DOCUMENTATION, "status": status}
    return JSONResponse(body, int(status), {"Retry-After": "60"} if status == "429" else {})


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
    """In the requested order; GitHub's default is by name."""
    name = request.query_params.get("sort", "full_name")
    name = name if name in _SORTS else "full_name"
    # GitHub sorts names from A, and dates from the newest.
    direction = request.query_params.get("direction") or ("asc" if name == "full_name" else "desc")
    return sorted(repositories, key=_SORTS[name], reverse=direction == "desc")


def issues_wanted(request: Request, issues: Sequence[Issue]) -> list[Issue]:
    """In the requested order and state; GitHub's default is open issues, newest first."""
    asked = request.query_params
    state = asked.get("state") if asked.get("state") in {"closed", "all"} else "open"
    key = _ISSUE_SORTS.get(asked.get("sort", ""), _ISSUE_SORTS["created"])
    matching = [issue for issue in issues if state in {issue.state, "all"}]
    return sorted(matching, key=key, reverse=asked.get("direction") != "asc")


def page_of(request: Request, items: Sequence[_Item], url: str) -> tuple[Sequence[_Item], dict[str, str]]:
    """The items of the requested page, and the Link header to the others."""
    size = _number(request, "per_page", _PER_PAGE, _MOST_PER_PAGE)
    page = _number(request, "page", 1)
    return items[(page - 1) * size : page * size], _links(
        url, request, page, -(-len(items) // size)
    )  # rounded up


def _number(request: Request, name: str, default: int, most: int = 10**6) -> int:
    text = request.query_params.get(name, "")
    # Neither `²`, a digit to `isdigit`, nor more than 4,300 digits: `int` refuses both.
    return max(1, min(int(text), most)) if re.fullmatch(r"[0-9]{1,18}", text) else default


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
