"""URL elicitation: a real server over loopback, in both eras, with pages of its own to go through."""

import sys
from pathlib import Path

import anyio
import httpx2
import pytest
from mcp import StdioServerParameters
from mcp.types import (
    ElicitRequestURLParams,
    ElicitResult,
)
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from tests.agent.conftest import Serve
from tests.agent.elicitation_office import CONSENT, ERAS, Person, Scenario
from workshop.agent.approval import ApproveAs, PrintUrl
from workshop.agent.connect import connect
from workshop.agent.elicitation import Elicitation
from workshop.agent.elicitation import Person as AtTheDesk
from workshop.agent.events import Event, PageOpened, PageRequested
from workshop.agent.mcp_tools import McpTools
from workshop.agent.messages import ToolResult
from workshop.core.ports import free_port
from workshop.recorder import files, recording
from workshop.recorder.build import build_trace
from workshop.recorder.model import Outcome, Subject
from workshop.recorder.recorder import Recorder


@pytest.fixture
def scenario(serve: Serve, tmp_path: Path) -> Scenario:
    return Scenario(serve, tmp_path)


@pytest.mark.parametrize("era", ERAS)
async def test_a_practice_user_goes_through_the_page_and_the_call_goes_on(
    scenario: Scenario, era: str
) -> None:
    async with scenario.desk(era, ApproveAs("learner")) as desk:
        result = await desk.look()
        assert desk.version == era
    assert result == ToolResult("the account's secret garden", None)
    assert scenario.office.submitted == [{"decision": "approve"}]
    url = scenario.office.addresses(0)[0]
    assert desk.of(PageRequested) == [
        PageRequested(f"{scenario.office.url}/mcp", url, "Connect your account")
    ]
    (opened,) = desk.of(PageOpened)
    assert opened == PageOpened("practice user", "localhost", "learner", opened.seconds)
    assert opened.seconds
    assert 0 < opened.seconds <= AtTheDesk(PrintUrl()).seconds
    assert scenario.office.calls == 2
    for declared in filter(None, scenario.office.declared):
        assert declared.elicitation.model_dump(exclude_none=True) == {"url": {}}, "and no forms"
    assert any(scenario.office.declared)


@pytest.mark.parametrize("era", ERAS)
async def test_who_says_no_is_not_sent_anywhere_and_the_model_goes_on(scenario: Scenario, era: str) -> None:
    person = Person(says=False)
    async with scenario.desk(era, person) as desk:
        result = await desk.look()
        assert (await desk.tools.call_tool("free", {})).text == "for everybody"
        again = await desk.look()
    assert result.is_error
    assert again.is_error
    assert person.opened == []
    assert person.asked == ["Open localhost in your browser?"] * 2, "another call is another question"
    if era == ERAS[0]:
        assert result.text == "The person did not agree to open the page that the server needs"
    else:
        assert scenario.office.answers == ["decline", "decline"], "so that the server knows"
        assert "No account, then" in result.text


@pytest.mark.parametrize("era", ERAS)
async def test_who_says_yes_is_asked_once_however_often_the_server_asks(scenario: Scenario, era: str) -> None:
    person = Person()
    async with scenario.desk(era, person) as desk, anyio.create_task_group() as tasks:

        async def finish() -> None:
            await scenario.office.reached[3].wait()
            scenario.office.done.set()

        tasks.start_soon(finish)
        assert (await desk.look()).text == "the account's secret garden"
    assert person.asked == ["Open localhost in your browser?"]
    assert person.opened == scenario.office.addresses(0)
    assert scenario.office.calls in (3, 4)
    assert [event.way for event in desk.of(PageOpened)] == ["browser"]


@pytest.mark.parametrize("era", ERAS)
async def test_with_nobody_to_ask_the_address_is_printed_and_nothing_opened(
    scenario: Scenario, era: str
) -> None:
    person = Person(says=None)
    async with scenario.desk(era, person, seconds=0.3) as desk:
        result = await desk.look()
    assert person.opened == []
    assert scenario.office.submitted == []
    assert [event.way for event in desk.of(PageOpened)] == ["printed"]
    assert result.is_error
    assert "not finish within 0.3 seconds" in result.text or "No account" in result.text


async def test_the_page_is_never_fetched_before_the_person_agrees(scenario: Scenario) -> None:
    fetched: list[str] = []

    async def watched(request: Request) -> Response:
        fetched.append(request.method)
        return HTMLResponse(CONSENT)

    scenario.office._page = watched  # type: ignore[method-assign]
    async with scenario.desk(ERAS[0], Person(says=False)) as desk:
        assert (await desk.look()).is_error
    assert fetched == []


@pytest.mark.parametrize("era", ERAS)
async def test_nobody_waits_long_for_a_server_that_ignores_the_practice_user(
    scenario: Scenario, era: str
) -> None:
    scenario.office.page = "<p>Nothing to do here</p>"
    async with scenario.desk(era, ApproveAs("learner", seconds=0.1), seconds=300) as desk:
        assert (await desk.look()).is_error


async def test_a_person_who_never_answers_ends_the_wait(scenario: Scenario) -> None:
    person = Person()
    person.consent = lambda _: anyio.sleep_forever()  # type: ignore[assignment,method-assign]
    async with scenario.desk(ERAS[0], person, seconds=0.2) as desk:
        assert (await desk.look()).text == "The person did not finish within 0.2 seconds"


async def test_the_servers_word_that_all_is_done_ends_the_wait(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workshop.agent.elicitation.EVERY", 60)
    person = Person()
    scenario.office.tells_the_end = True
    async with scenario.desk(ERAS[0], person, seconds=60) as desk, anyio.create_task_group() as tasks:

        async def go() -> None:
            await scenario.office.reached[2].wait()
            async with httpx2.AsyncClient() as browser:
                await browser.post(person.opened[0], data={"decision": "approve"})

        tasks.start_soon(go)
        assert (await desk.look()).text == "the account's secret garden"


@pytest.mark.parametrize("era", ERAS)
async def test_a_form_is_declined_with_a_line_on_screen(scenario: Scenario, era: str) -> None:
    async with scenario.desk(era, Person()) as desk:
        assert (await desk.tools.call_tool("form", {})).text == "decline"
    assert "asks for input in a form; the agent declines those" in desk.warned


@pytest.mark.parametrize(("says", "action"), [(True, "accept"), (False, "decline")])
async def test_a_server_of_2025_may_ask_while_the_call_goes_on(
    scenario: Scenario, *, says: bool, action: str
) -> None:
    person = Person(says=says)
    async with scenario.desk(ERAS[0], person) as desk:
        assert (await desk.tools.call_tool("direct", {})).text == action
    assert person.opened == (scenario.office.addresses(1) if says else [])


async def test_two_calls_at_a_time_ask_the_person_once(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workshop.agent.elicitation.EVERY", 0.05)
    person = Person()
    async with scenario.desk(ERAS[0], person) as desk, anyio.create_task_group() as tasks:
        tasks.start_soon(desk.look)
        tasks.start_soon(desk.look)
        await scenario.office.reached[4].wait()
        scenario.office.done.set()
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


@pytest.mark.parametrize("approval", [ApproveAs("learner"), Person(says=False)])
@pytest.mark.parametrize("era", ERAS)
async def test_no_form_of_a_trace_has_what_the_address_carries(
    scenario: Scenario, era: str, approval: ApproveAs | Person
) -> None:
    recorder = Recorder()
    with recording(recorder):
        async with scenario.desk(era, approval) as desk:
            await desk.look()
    heard = b"".join(bytes(one.body) + one.request_body + one.url.encode() for one in recorder.requests)
    assert b"sample-session-1" in heard, "the test itself has to see it"
    trace = build_trace(recorder, Subject("x"), Outcome())
    for writer in files.WRITERS.values():
        text = writer(trace)
        assert "/page" in text, "though where it led is told"
        assert "sample-session-1" not in text


async def test_without_a_person_nobody_is_declared_and_the_error_is_a_result(
    scenario: Scenario, serve: Serve
) -> None:
    async with serve(scenario.office.app(), free_port()) as url, connect(f"{url}/mcp") as client:
        scenario.office.url = url
        result = await McpTools(client, timeout=60).call_tool("look", {})
    assert result.is_error
    assert all(declared is None or declared.elicitation is None for declared in scenario.office.declared)
