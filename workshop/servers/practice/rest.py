"""The part of GitHub's REST API that gateways and curious people need: a user, repositories, issues."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from workshop.servers.practice import issue_shapes, shapes
from workshop.servers.practice.catalog import NotFoundError
from workshop.servers.practice.rest_lists import issues_wanted, page_of, repositories_wanted
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
        owned = repositories_wanted(request, [item for item in visible if item.owner == caller.login])
        url = self.state.config.url
        shown, links = page_of(request, owned, f"{url}/user/repos")
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
        shown, links = page_of(request, wanted, f"{url}/repos/{repository.full_name}/issues")
        body = [issue_shapes.rest_issue(repository, issue, people, url) for issue in shown]
        return self._answer(caller, body, links)

    def _caller(self, request: Request) -> Caller | Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not token:
            return _unauthorized("Requires authentication")
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
            return JSONResponse(refused, status_code=403, headers=common)
        return JSONResponse(body, status_code=status, headers=common | (headers or {}))


def _unauthorized(message: str) -> Response:
    body = {"message": message, "documentation_url": _DOCUMENTATION, "status": "401"}
    return JSONResponse(body, status_code=401)
