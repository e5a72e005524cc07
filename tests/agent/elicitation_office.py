"""A server that needs the person at its page, the person, and the agent between them."""

import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import anyio
from mcp import MCPError
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import UrlElicitationRequiredError
from mcp.types import (
    URL_ELICITATION_REQUIRED,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitRequestURLParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
)
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.agent.conftest import Serve
from workshop.agent.events import Event, Warned
from workshop.agent.loop import Agent
from workshop.agent.mcp_tools import McpTools
from workshop.agent.messages import ToolResult
from workshop.agent.part import Timeouts
from workshop.agent.rehearsal import RehearsalModel
from workshop.core.ports import free_port

ERAS = ("2025-11-25", "2026-07-28")
CONSENT = '<form method=post><button name="decision" value="approve">Yes</button></form>'
FORM = ElicitRequestFormParams(message="Who?", requested_schema={"type": "object", "properties": {}})


class Office:
    """A server whose tool needs the person at its page first; every rule a test may bend is a field."""

    def __init__(self) -> None:
        self.url = ""
        self.page = CONSENT
        self.end = "/end?session=sample-session-1"
        self.message = "Connect your account"
        self.addresses: Callable[[int], list[str]] = lambda _: [f"{self.url}/page?session=sample-session-1"]
        self.tells_the_end = False
        self.done = anyio.Event()
        self.calls = 0
        self.reached: defaultdict[int, anyio.Event] = defaultdict(anyio.Event)
        self.submitted: list[dict[str, Any]] = []
        self.answers: list[str] = []
        self.declared: list[Any] = []
        self._session: Any = None

    def app(self) -> ASGIApp:
        server = MCPServer("Office", log_level="ERROR")
        server.tool(structured_output=False)(self.look)
        server.tool(structured_output=False)(self.free)
        server.tool(structured_output=False)(self.form)
        server.tool(structured_output=False)(self.nonsense)
        server.tool(structured_output=False)(self.direct)
        server.custom_route("/page", ["GET", "POST"])(self._page)
        server.custom_route("/end", ["GET"])(self._end)
        return server.streamable_http_app()

    async def look(self, ctx: Context) -> str | InputRequiredResult:
        """Look into the account."""
        self.calls += 1
        self.reached[self.calls].set()
        self.declared.append(ctx.client_capabilities)
        answers = [a for a in (ctx.input_responses or {}).values() if isinstance(a, ElicitResult)]
        actions = [answer.action for answer in answers]
        self.answers += actions
        if self.done.is_set():
            return "the account's secret garden"
        if set(actions) - {"accept"}:
            raise ToolError("No account, then")
        self._session = ctx.session
        asked = [
            ElicitRequestURLParams(message=self.message, url=url, elicitation_id=f"id-{url}")
            for url in self.addresses(self.calls)
        ]
        if ctx.protocol_version == "2025-11-25":
            raise UrlElicitationRequiredError(asked)
        requests: dict[str, InputRequest] = {
            str(number): ElicitRequest(params=params) for number, params in enumerate(asked)
        }
        return InputRequiredResult(input_requests=requests, request_state="sample-state-of-the-office")

    async def form(self, ctx: Context) -> str | InputRequiredResult:
        """Ask in a form."""
        if ctx.protocol_version == "2025-11-25":
            answered: ElicitResult = await ctx.session.send_request(ElicitRequest(params=FORM), ElicitResult)
            return answered.action
        answer = (ctx.input_responses or {}).get("which")
        if isinstance(answer, ElicitResult):
            return answer.action
        return InputRequiredResult(input_requests={"which": ElicitRequest(params=FORM)}, request_state="s")

    async def direct(self, ctx: Context) -> str:
        """Ask by a request of its own, while the call goes on."""
        return (await ctx.elicit_url(self.message, self.addresses(1)[0], "id")).action

    async def free(self) -> str:
        """Need nobody."""
        return "for everybody"

    async def nonsense(self, data: Any) -> str:
        """Raise the error with whatever data."""
        raise MCPError(URL_ELICITATION_REQUIRED, "open http://localhost/secret", data)

    async def _page(self, request: Request) -> Response:
        if request.method == "GET":
            return HTMLResponse(self.page)
        self.submitted.append(dict(await request.form()))
        self.done.set()
        if self.tells_the_end:
            url = f"{self.url}{request.url.path}?{request.url.query}"
            await self._session.send_elicit_complete(f"id-{url}")
        return RedirectResponse(self.end, 303)

    async def _end(self, _: Request) -> Response:
        return HTMLResponse("<p>You can close this window</p>")


def _of_2025(app: ASGIApp) -> ASGIApp:
    """The server as it was before 2026-07-28: it knows of no request without a handshake."""

    async def older(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        if headers.get(b"mcp-protocol-version") == b"2026-07-28":
            await Response("unknown version", 400)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return older


@dataclass
class Person:
    """Somebody who is asked, answers, and may go to the page."""

    says: bool | None = True
    way: Literal["browser", "printed"] = "browser"
    user: str = ""
    asked: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)

    async def consent(self, question: str) -> bool | None:
        self.asked.append(question)
        return self.says

    async def start(self, url: str) -> None:
        self.opened.append(url)


@dataclass
class Desk:
    """The agent connected to the office, and all that was told on the way."""

    office: Office
    tools: McpTools
    events: list[Event]
    version: str

    async def look(self) -> ToolResult:
        with anyio.fail_after(60):
            return await self.tools.call_tool("look", {})

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def warned(self) -> str:
        return "\n".join(event.text for event in self.of(Warned))


class Scenario:
    """Brings an office and a person together."""

    def __init__(self, serve: Serve, folder: Path) -> None:
        self._serve, self._folder = serve, folder
        self.office = Office()

    @contextlib.asynccontextmanager
    async def desk(self, era: str, approval: Any, *, seconds: float = 60) -> AsyncIterator[Desk]:
        app = self.office.app()
        events: list[Event] = []
        agent = Agent(
            "?",
            RehearsalModel((), "?"),
            approval,
            self._folder,
            timeouts=Timeouts(approval=seconds, call=60),
            observe=events.append,
        )
        if isinstance(approval, Person):
            agent = Agent(**{**vars(agent), "consent": approval.consent})
        async with self._serve(app if era == ERAS[1] else _of_2025(app), free_port()) as url:
            self.office.url = url
            async with agent.connect(f"{url}/mcp") as client:
                yield Desk(self.office, McpTools(client, timeout=60), events, client.protocol_version)
