"""URL elicitation: a real server over loopback, in both eras, with pages of its own to go through."""

import contextlib
import io
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import anyio
import httpx2
import pytest
from mcp import MCPError, StdioServerParameters
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
from workshop.agent.agent import Agent
from workshop.agent.approval import ApproveAs, PrintUrl
from workshop.agent.connect import connect
from workshop.agent.elicitation import Elicitation
from workshop.agent.elicitation import Person as AtTheDesk
from workshop.agent.events import Event, VisitRequested, VisitStarted, Warned
from workshop.agent.mcp_tools import McpTools
from workshop.agent.messages import ToolResult
from workshop.agent.part import Timeouts
from workshop.agent.rehearsal import RehearsalModel
from workshop.agent.view import View
from workshop.console import Console
from workshop.ports import free_port
from workshop.trace import files
from workshop.trace.current import recording
from workshop.trace.model import Outcome, Subject
from workshop.trace.recorder import Recorder
from workshop.trace.story import tell

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
        with anyio.fail_after(20):
            return await self.tools.call_tool("look", {})

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def warned(self) -> str:
        return "\n".join(event.text for event in self.of(Warned))


class Room:
    """Brings an office and a person together."""

    def __init__(self, serve: Serve, folder: Path) -> None:
        self._serve, self._folder = serve, folder
        self.office = Office()

    @contextlib.asynccontextmanager
    async def desk(self, era: str, approval: Any, *, seconds: float = 10) -> AsyncIterator[Desk]:
        app = self.office.app()
        events: list[Event] = []
        agent = Agent(
            "?",
            RehearsalModel((), "?"),
            approval,
            self._folder,
            timeouts=Timeouts(approval=seconds, call=5),
            observe=events.append,
        )
        if isinstance(approval, Person):
            agent = Agent(**{**vars(agent), "consent": approval.consent})
        async with self._serve(app if era == ERAS[1] else _of_2025(app), free_port()) as url:
            self.office.url = url
            async with agent.connect(f"{url}/mcp") as client:
                yield Desk(self.office, McpTools(client, timeout=5), events, client.protocol_version)


@pytest.fixture
def room(serve: Serve, tmp_path: Path) -> Room:
    return Room(serve, tmp_path)


@pytest.mark.parametrize("era", ERAS)
async def test_a_practice_user_goes_through_the_page_and_the_call_goes_on(room: Room, era: str) -> None:
    async with room.desk(era, ApproveAs("learner")) as desk:
        result = await desk.look()
        assert desk.version == era
    assert result == ToolResult("the account's secret garden", None)
    assert room.office.submitted == [{"decision": "approve"}]
    url = room.office.addresses(0)[0]
    assert desk.of(VisitRequested) == [VisitRequested(f"{room.office.url}/mcp", url, "Connect your account")]
    assert desk.of(VisitStarted) == [VisitStarted("practice user", "localhost", "learner")]
    assert room.office.calls == 2
    for declared in filter(None, room.office.declared):
        assert declared.elicitation.model_dump(exclude_none=True) == {"url": {}}, "and no forms"
    assert any(room.office.declared)


@pytest.mark.parametrize("era", ERAS)
async def test_who_says_no_is_not_sent_anywhere_and_the_model_goes_on(room: Room, era: str) -> None:
    person = Person(says=False)
    async with room.desk(era, person) as desk:
        result = await desk.look()
        assert (await desk.tools.call_tool("free", {})).text == "for everybody"
        again = await desk.look()
    assert result.is_error
    assert again.is_error
    assert person.opened == []
    assert person.asked == ["Open localhost in your browser?"] * 2, "another call is another question"
    if era == ERAS[0]:
        assert result.text == "The person did not agree to go to the page the server needs"
    else:
        assert room.office.answers == ["decline", "decline"], "so that the server knows"
        assert "No account, then" in result.text


@pytest.mark.parametrize("era", ERAS)
async def test_who_says_yes_is_asked_once_however_often_the_server_asks(room: Room, era: str) -> None:
    person = Person()
    async with room.desk(era, person) as desk, anyio.create_task_group() as tasks:

        async def finish() -> None:
            await room.office.reached[3].wait()
            room.office.done.set()

        tasks.start_soon(finish)
        assert (await desk.look()).text == "the account's secret garden"
    assert person.asked == ["Open localhost in your browser?"]
    assert person.opened == room.office.addresses(0)
    assert room.office.calls in (3, 4)
    assert [event.way for event in desk.of(VisitStarted)] == ["browser"]


@pytest.mark.parametrize("era", ERAS)
async def test_with_nobody_to_ask_the_address_is_printed_and_nothing_opened(room: Room, era: str) -> None:
    person = Person(says=None)
    async with room.desk(era, person, seconds=0.3) as desk:
        result = await desk.look()
    assert person.opened == []
    assert room.office.submitted == []
    assert [event.way for event in desk.of(VisitStarted)] == ["printed"]
    assert result.is_error
    assert "not done within 0.3 seconds" in result.text or "No account" in result.text


async def test_the_page_is_never_fetched_before_the_person_agrees(room: Room) -> None:
    fetched: list[str] = []

    async def watched(request: Request) -> Response:
        fetched.append(request.method)
        return HTMLResponse(CONSENT)

    room.office._page = watched  # type: ignore[method-assign]
    async with room.desk(ERAS[0], Person(says=False)) as desk:
        assert (await desk.look()).is_error
    assert fetched == []


async def test_a_person_who_never_answers_ends_the_wait(room: Room) -> None:
    person = Person()
    person.consent = lambda _: anyio.sleep_forever()  # type: ignore[assignment,method-assign]
    async with room.desk(ERAS[0], person, seconds=0.2) as desk:
        assert (await desk.look()).text == "The person was not done within 0.2 seconds"


async def test_the_servers_word_that_all_is_done_ends_the_wait(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workshop.agent.elicitation.EVERY", 60)
    person = Person()
    room.office.tells_the_end = True
    async with room.desk(ERAS[0], person, seconds=60) as desk, anyio.create_task_group() as tasks:

        async def go() -> None:
            await room.office.reached[2].wait()
            async with httpx2.AsyncClient() as browser:
                await browser.post(person.opened[0], data={"decision": "approve"})

        tasks.start_soon(go)
        assert (await desk.look()).text == "the account's secret garden"


HOSTILE = [
    "file:///etc/passwd",
    "http://elsewhere.example/page",
    "http://mallory:sample@localhost/page",
    "https://localhost@elsewhere.example/",
    "javascript:alert(1)",
    "https://practice.example\\@elsewhere.example/",
    "http://localhost/\x1b[2J",
    "http://localhost/\u202egpj",
    "https://10.0.0.7/router",
    "http://localhost:99999/",
    "http://[::1/",
    "//localhost/page",
    "http://localhost/" + "x" * 3000,
    "",
]


@pytest.mark.parametrize("url", HOSTILE)
async def test_an_address_that_nobody_should_open_is_refused_unasked(room: Room, url: str) -> None:
    person = Person()
    room.office.addresses = lambda _: [url]
    async with room.desk(ERAS[0], person) as desk:
        result = await desk.look()
    assert result.is_error
    assert result.text.startswith("The server asked for an address that is not opened: ")
    assert person.asked == person.opened == desk.of(VisitRequested) == []
    assert "asks for an address that is not opened" in desk.warned
    assert not url or url not in desk.warned + result.text


async def test_in_the_newer_era_a_refused_address_is_a_decline(room: Room) -> None:
    room.office.addresses = lambda _: ["file:///etc/passwd"]
    async with room.desk(ERAS[1], ApproveAs("learner")) as desk:
        assert (await desk.look()).is_error
    assert room.office.answers == ["decline"]


@pytest.mark.parametrize("era", ERAS)
async def test_a_server_that_always_needs_another_page_is_stopped(room: Room, era: str) -> None:
    person = Person()
    room.office.addresses = lambda call: [f"{room.office.url}/page?number={call}"]
    async with room.desk(era, person) as desk:
        result = await desk.look()
    assert result.is_error
    assert len(person.asked) == 3
    assert "more than 3 addresses" in result.text or "No account" in result.text


@pytest.mark.parametrize("era", ERAS)
async def test_a_server_that_needs_many_pages_at_once_is_stopped_too(room: Room, era: str) -> None:
    person = Person()
    room.office.addresses = lambda _: [f"{room.office.url}/page?number={n}" for n in range(50)]
    async with room.desk(era, person) as desk:
        result = await desk.look()
    assert result.is_error
    assert len(person.asked) == 3
    assert "more than 3 addresses" in result.text


async def test_a_server_that_ignores_every_answer_is_given_up(room: Room) -> None:
    async def deaf(ctx: Context) -> InputRequiredResult:
        """Ask for ever."""
        room.office.calls += 1
        url = f"{room.office.url}/page"
        params = ElicitRequestURLParams(message="!", url=url)
        return InputRequiredResult(input_requests={"k": ElicitRequest(params=params)}, request_state="s")

    room.office.look = deaf  # type: ignore[method-assign]
    deaf.__name__ = "look"
    person = Person(says=False)
    async with room.desk(ERAS[1], person) as desk:
        result = await desk.look()
    assert result.text == "The person did not agree to go to the page the server needs"
    assert len(person.asked) == 1
    assert room.office.calls < 6


@pytest.mark.parametrize("data", [None, [], "text", {}, {"elicitations": []}, {"elicitations": [{"a": 1}]}])
async def test_an_error_that_names_no_page_is_told(room: Room, data: Any) -> None:
    async with room.desk(ERAS[0], Person()) as desk:
        result = await desk.tools.call_tool("nonsense", {"data": data})
    assert result == ToolResult(
        "The server wants the person at a page, but does not say at which", None, True
    )


@pytest.mark.parametrize("era", ERAS)
async def test_a_form_is_declined_with_a_line_on_screen(room: Room, era: str) -> None:
    async with room.desk(era, Person()) as desk:
        assert (await desk.tools.call_tool("form", {})).text == "decline"
    assert "asks for input in a form; the agent declines those" in desk.warned


@pytest.mark.parametrize(("says", "action"), [(True, "accept"), (False, "decline")])
async def test_a_server_of_2025_may_ask_while_the_call_goes_on(room: Room, says: bool, action: str) -> None:  # noqa: FBT001 - a parameter of the test
    person = Person(says=says)
    async with room.desk(ERAS[0], person) as desk:
        assert (await desk.tools.call_tool("direct", {})).text == action
    assert person.opened == (room.office.addresses(1) if says else [])


async def test_two_calls_at_a_time_ask_the_person_once(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workshop.agent.elicitation.EVERY", 0.05)
    person = Person()
    async with room.desk(ERAS[0], person) as desk, anyio.create_task_group() as tasks:
        tasks.start_soon(desk.look)
        tasks.start_soon(desk.look)
        await room.office.reached[4].wait()
        room.office.done.set()
    assert len(person.asked) == 1


async def test_a_server_asks_nobody_when_it_has_nothing_to_do() -> None:
    events: list[Event] = []
    asking = Elicitation("x", "http://localhost", AtTheDesk(PrintUrl()), events.append)
    params = ElicitRequestURLParams(message="!", url="http://localhost/")
    answer = await asking.answer(None, params)  # type: ignore[arg-type]  # it looks at no context
    assert isinstance(answer, ElicitResult)
    assert answer.action == "decline"
    assert events == []


STDIO = """
import sys
from mcp.server.mcpserver import Context, MCPServer
from mcp.types import ElicitRequest, ElicitRequestURLParams, InputRequiredResult
server = MCPServer("by hand", log_level="ERROR")
@server.tool(structured_output=False)
def look(ctx: Context) -> str | InputRequiredResult:
    if ctx.input_responses:
        return ctx.input_responses["k"].action + str(ctx.client_capabilities.elicitation.form)
    params = ElicitRequestURLParams(message="!", url="http://localhost/page")
    return InputRequiredResult(input_requests={"k": ElicitRequest(params=params)}, request_state="s")
server.run("stdio")
"""


async def test_a_program_on_this_machine_may_send_the_person_to_it(tmp_path: Path) -> None:
    script, person = tmp_path / "server.py", Person()
    script.write_text(STDIO)
    program = StdioServerParameters(command=sys.executable, args=[str(script)])
    async with connect(program, person=AtTheDesk(person, person.consent)) as client:
        assert (await McpTools(client).call_tool("look", {})).text == "acceptNone"
    assert person.opened == ["http://localhost/page"]


async def test_what_the_server_says_reaches_the_screen_harmless_and_short(room: Room) -> None:
    room.office.message = "\x1b[2J\u202eAll\n\nis {well} " + "x" * 5000
    async with room.desk(ERAS[0], Person(says=False)) as desk:
        await desk.look()
    out, err = io.StringIO(), io.StringIO()
    with View(Console(out, err)) as view:
        for event in desk.events:
            view.observe(event)
    shown = err.getvalue()
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "It says: \\x1b[2J\\x202eAll is {well} xxx" in shown
    assert "x" * 400 not in shown
    assert f"\n  {room.office.addresses(1)[0]}\n" in shown, "the whole address on a line of its own"


LOGIN = '<form action="https://github.com/login"><button name="user" value="learner">x</button></form>'


@pytest.mark.parametrize(
    ("page", "end", "told"),
    [
        (LOGIN, "/end", "The login leads to github.com"),
        (
            "<form method=post><button name=authorize value=1>x</button></form>",
            "/end",
            "without the expected",
        ),
        (CONSENT, "https://github.com/", "The login leads to github.com"),
        (CONSENT, "/nowhere", "answered 404 without the expected form"),
        (CONSENT.replace("<form", '<form action="http://["'), "/end", "Invalid IPv6 URL"),
    ],
)
async def test_a_practice_user_goes_no_further_than_practice_pages(
    room: Room, page: str, end: str, told: str
) -> None:
    room.office.page, room.office.end = page, end
    async with room.desk(ERAS[0], ApproveAs("learner")) as desk:
        result = await desk.look()
    assert result.text == "Nobody could go through the page that the server needs"
    assert told in desk.warned


@pytest.mark.parametrize("approval", [ApproveAs("learner"), Person(says=False)])
@pytest.mark.parametrize("era", ERAS)
async def test_no_form_of_a_trace_has_what_the_address_carries(
    room: Room, era: str, approval: ApproveAs | Person
) -> None:
    recorder = Recorder()
    with recording(recorder):
        async with room.desk(era, approval) as desk:
            await desk.look()
    heard = b"".join(bytes(hop.body) + hop.request_body + hop.url.encode() for hop in recorder.hops)
    assert b"sample-session-1" in heard, "the test itself has to see it"
    trace = tell(recorder, Subject("x"), Outcome())
    for writer in files.WRITERS.values():
        text = writer(trace)
        assert "/page" in text, "though where it led is told"
        assert "sample-session-1" not in text


async def test_without_a_person_nobody_is_declared_and_the_error_is_a_result(
    room: Room, serve: Serve
) -> None:
    async with serve(room.office.app(), free_port()) as url, connect(f"{url}/mcp") as client:
        room.office.url = url
        result = await McpTools(client, timeout=5).call_tool("look", {})
    assert result.is_error
    assert all(declared is None or declared.elicitation is None for declared in room.office.declared)
