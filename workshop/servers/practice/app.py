"""The practice GitHub as one ASGI application, its check of the Host header, and the endpoints of its own.

Those are the home page, health, the recorded requests, and the switches.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Final
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from workshop.core.errors import UsageError
from workshop.core.serving import SERVER_ERROR
from workshop.servers.practice import faults, shapes, web
from workshop.servers.practice.catalog import NotFoundError, Repository
from workshop.servers.practice.config import PracticeConfig
from workshop.servers.practice.faults import FaultInjection
from workshop.servers.practice.mcp_endpoint import McpEndpoint
from workshop.servers.practice.oauth import AuthorizePage, TokenEndpoint
from workshop.servers.practice.recorder import Recording
from workshop.servers.practice.rest import Rest
from workshop.servers.practice.state import PracticeState
from workshop.servers.practice.tokens import Caller
from workshop.servers.practice.web import parse_json, read_small

CONTROL_HEADER = "X-Practice-Control"
_NOBODY = Caller("", ())


@dataclass(frozen=True)
class Control:
    """Endpoints that GitHub does not have; a POST needs the header `X-Practice-Control: 1`.

    A browser sends that header to another origin only after a CORS preflight, which this server never allows.
    """

    state: PracticeState

    def routes(self) -> list[Route]:
        return [
            Route("/", self.home, methods=["GET"]),
            Route("/health", self.health, methods=["GET"]),
            Route("/practice/requests", self.requests, methods=["GET"]),
            Route("/practice/faults", self.faults, methods=["POST"]),
            Route("/practice/switches", self.switches, methods=["POST"]),
            Route("/practice/reset", self.reset, methods=["POST"]),
            # `profile_url` and each `html_url` lead to one of these pages.
            *(route for path in self._owners() for route in self._pages(path)),
        ]

    def _owners(self) -> list[str]:
        """The paths of the users' pages; one for all seats, because each path costs each request time."""
        seats = self.state.config.seat_users
        others = [user.login for user in self.state.catalog.users if user.login not in seats]
        return [*others, *(["seat-{number}"] if seats else [])]

    def _pages(self, path: str) -> list[Route]:
        return [Route(f"/{path}", self.profile), Route(f"/{path}/{{path:path}}", self.page)]

    async def home(self, _: Request) -> Response:
        """The home page: what this is, and the state of the switches."""
        state = self.state
        return web.render(
            "home.html",
            url=state.config.url,
            app_name=state.config.app_name,
            client_id=state.config.client_id,
            users=state.people,
            seats=state.config.seats,
            recorded=len(state.recorder),
            approvals=state.authorizations.approvals,
            skip_consent=state.skip_consent,
            faults=state.faults.active,
            targets=faults.TARGETS,
            kinds=faults.FAULTS,
        )

    async def profile(self, request: Request) -> Response:
        """The page of a user; it shows none of their data, because it needs no login."""
        title = request.url.path.strip("/")
        if title not in {user.login for user in self.state.catalog.users}:
            raise HTTPException(404)
        text = "The practice GitHub has no profile page; its REST API and its MCP server have the data."
        return web.message(title, text, status=200)

    async def page(self, request: Request) -> Response:
        """The page of a public repository, or of an issue, a commit, a file or a folder in it: a few numbers.

        A private repository is not found, as at GitHub without a login.
        """
        path = request.url.path.strip("/")
        owner, _, name = path.partition("/")
        name, _, inside = name.partition("/")
        try:
            numbers = _numbers(self.state.catalog.repository(_NOBODY, owner, name), inside)
        except NotFoundError:
            raise HTTPException(404) from None
        return web.render("repository.html", title=path, numbers=numbers)

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok", "name": "practice-github"})

    async def requests(self, request: Request) -> Response:
        """The recorded requests, oldest first; with seats, those of the user whose record key is given.

        Each `sha256` in the query adds requests of nobody in particular that had this credential.
        """
        if not self.state.config.seats:
            return JSONResponse({"requests": self.state.recorder.as_json()})
        user = self.state.reader(request)
        if user is None:
            why = "A seat's record needs `Authorization: Bearer KEY` with that seat's record key"
            return JSONResponse(
                {"error": "This is not the record of one seat", "why": why},
                status_code=401,
                headers={"WWW-Authenticate": "Bearer"},
            )
        wanted = set(request.query_params.getlist("sha256"))
        return JSONResponse({"requests": self.state.recorder.as_json(user, wanted)})

    async def faults(self, request: Request) -> Response:
        """Switch one fault on or off: target, fault, times, seconds, user."""
        try:
            self._check_control(request)
            users = {user.login for user in self.state.catalog.users}
            fault = faults.parse(parse_json(await read_small(request)), users)
        except UsageError as error:
            return _refuse(error)
        # A token stays revoked, whereas a fault ends after its `times`.
        if fault.kind == "revoked":
            self.state.tokens.revoke(fault.user)
        else:
            self.state.faults.set(fault)
        return self._switches()

    async def switches(self, request: Request) -> Response:
        """Set `skip_consent`: whether people who have approved before are not asked again.

        GitHub itself skips the page. That makes a confused deputy possible: a page that sends a person's
        browser to the authorize endpoint gets a code without asking the person.
        """
        try:
            self._check_control(request)
            raw = parse_json(await read_small(request))
            if not isinstance(raw, dict) or not isinstance(raw.get("skip_consent"), bool):
                raise UsageError("`skip_consent` must be true or false")  # noqa: TRY301 - one exit for all refusals
        except UsageError as error:
            return _refuse(error)
        self.state.skip_consent = raw["skip_consent"]
        return self._switches()

    async def reset(self, request: Request) -> Response:
        """Delete faults, tokens, approvals, changed data and recorded requests."""
        try:
            self._check_control(request)
        except UsageError as error:
            return _refuse(error)
        self.state.reset()
        return self._switches()

    def _check_control(self, request: Request) -> None:
        if request.headers.get(CONTROL_HEADER) != "1":
            raise UsageError(f"Switching needs the header {CONTROL_HEADER}: 1")
        if self.state.config.seats:
            raise UsageError("Nothing can be switched here", why="It would change for every seat at once")

    def _switches(self) -> Response:
        active = [asdict(fault) for fault in self.state.faults.active]
        return JSONResponse({"skip_consent": self.state.skip_consent, "faults": active})


def _numbers(repository: Repository, inside: str) -> dict[str, object]:
    """What the page shows of a repository or of something in it; raises NotFoundError."""
    issue = next((item for item in repository.issues if inside == f"issues/{item.number}"), None)
    commit = next((item for item in repository.commits if inside == f"commit/{item.sha}"), None)
    files = [path for path in repository.files if path == inside or path.startswith(f"{inside}/")]
    if not inside:
        return {
            "Language": repository.language,
            "Stars": repository.stars,
            "Forks": repository.forks,
            "Open issues": len(repository.open_issues),
            "Commits": len(repository.commits),
            "Files": len(repository.files),
        }
    if issue:
        return {"Title": issue.title, "State": issue.state, "Comments": len(issue.comments)}
    if commit:
        return {"Message": commit.message, "Branch": commit.branch, "Date": shapes.stamp(commit.date)}
    if not files:
        raise NotFoundError(inside)
    return {"Files": len(files), "Bytes": sum(len(repository.files[path].encode()) for path in files)}


def _refuse(error: UsageError) -> Response:
    return JSONResponse({"error": error.what, "why": error.why}, status_code=400)


_LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}


def create_app(config: PracticeConfig, clock: Callable[[], float] = time.time) -> Starlette:
    """The practice GitHub; MCP works while its lifespan runs. `clock` gives seconds since the epoch."""
    state = PracticeState.fresh(config, clock)
    mcp = McpEndpoint(state)
    parts = (Control(state), AuthorizePage(state), TokenEndpoint(state), Rest(state), mcp)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with mcp.running():
            yield

    app = Starlette(
        routes=[route for part in parts for route in part.routes()],
        middleware=[
            # The host first; then the record, which also lists the requests that a fault breaks.
            Middleware(OwnHost, hosts=config.hosts),
            Middleware(Recording, recorder=state.recorder, verify=state.tokens.verify),
            Middleware(FaultInjection, faults=state.faults),
        ],
        exception_handlers={HTTPException: _refusal, Exception: _failure},
        lifespan=lifespan,
    )
    # GitHub answers at `/mcp` and at `/mcp/`, without a redirect.
    app.router.redirect_slashes = False
    app.state.practice = state
    return app


async def _refusal(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return web.message(
        "Not found", "The practice GitHub has only the pages that the exercises need.", status=status
    )


async def _failure(_: Request, __: Exception) -> Response:
    error, description = SERVER_ERROR
    body = {"error": error, "error_description": description}
    return JSONResponse(body, 500, {"connection": "close"})


class OwnHost:
    """Answers 421 to a Host that is not loopback, so that DNS rebinding does not work.

    It also accepts `hosts`: the name by which other pods reach this one, or the public names.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] = frozenset()) -> None:
        self._app = app
        self._hosts = _LOOPBACK | hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._is_own(Headers(scope=scope).get("host", "")):
            await self._app(scope, receive, send)
            return
        refusal = PlainTextResponse("The practice GitHub answers only as localhost.\n", status_code=421)
        await refusal(scope, receive, send)

    def _is_own(self, host: str) -> bool:
        try:
            return urlsplit(f"//{host}").hostname in self._hosts
        except ValueError:
            return False
