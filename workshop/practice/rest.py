"""The part of GitHub's REST API that the gateway and curious people need: `/user` and `/user/repos`."""

from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from workshop.practice import shapes
from workshop.practice.data import Repository
from workshop.practice.state import PracticeState
from workshop.practice.tokens import Caller

_DOCUMENTATION = "https://docs.github.com/rest"
_MOST_PER_PAGE = 100
_PER_PAGE = 30
_SORTS = {
    "created": lambda repository: repository.created_at,
    "updated": lambda repository: repository.updated_at,
    "pushed": lambda repository: repository.pushed_at,
    "full_name": lambda repository: repository.full_name,
}


@dataclass(frozen=True)
class Rest:
    """`GET /user` and `GET /user/repos`, with GitHub's headers."""

    state: PracticeState

    def routes(self) -> list[Route]:
        return [
            Route("/user", self.user, methods=["GET"]),
            Route("/user/repos", self.repositories, methods=["GET"]),
        ]

    async def user(self, request: Request) -> Response:
        """The person the token acts for."""
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
        owned = _sorted(request, [repository for repository in visible if repository.owner == caller.login])
        size = _number(request, "per_page", _PER_PAGE, _MOST_PER_PAGE)
        page = _number(request, "page", 1)
        shown = owned[(page - 1) * size : page * size]
        body = [shapes.rest_repository(repository, self.state.config.url) for repository in shown]
        pages = -(-len(owned) // size)
        return self._answer(caller, body, _links(f"{self.state.config.url}/user/repos", request, page, pages))

    def _caller(self, request: Request) -> Caller | Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not token:
            return _unauthorized("Requires authentication")
        caller = self.state.tokens.verify(token.strip()) if scheme.lower() in {"bearer", "token"} else None
        if caller is None:
            return _unauthorized("Bad credentials")
        return Caller(self.state.acting(request, caller.login), caller.scopes)

    def _answer(self, caller: Caller, body: object, headers: dict[str, str] | None = None) -> Response:
        usage = self.state.rate_limits.count(caller.login)
        common = usage.headers() | {"X-OAuth-Scopes": ", ".join(caller.scopes), "X-Accepted-OAuth-Scopes": ""}
        if usage.exceeded:
            refused = {"message": "API rate limit exceeded", "documentation_url": _DOCUMENTATION}
            return JSONResponse(refused, status_code=403, headers=common)
        return JSONResponse(body, headers=common | (headers or {}))


def _unauthorized(message: str) -> Response:
    body = {"message": message, "documentation_url": _DOCUMENTATION, "status": "401"}
    return JSONResponse(body, status_code=401)


def _sorted(request: Request, repositories: list[Repository]) -> list[Repository]:
    name = request.query_params.get("sort", "full_name")
    name = name if name in _SORTS else "full_name"
    direction = request.query_params.get("direction") or ("asc" if name == "full_name" else "desc")
    return sorted(repositories, key=_SORTS[name], reverse=direction == "desc")


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
