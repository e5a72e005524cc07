"""URL elicitation by a server that means no good: nobody is led astray, and every call ends."""

import io
from pathlib import Path
from typing import Any

import pytest
from mcp.server.mcpserver import Context
from mcp.types import (
    ElicitRequest,
    ElicitRequestURLParams,
    InputRequiredResult,
)

from tests.agent.conftest import Serve
from tests.agent.elicitation_office import CONSENT, ERAS, Person, Scenario
from workshop.agent.approval import ApproveAs
from workshop.agent.events import PageRequested
from workshop.agent.messages import ToolResult
from workshop.agent.view import View
from workshop.core.console import Console


@pytest.fixture
def scenario(serve: Serve, tmp_path: Path) -> Scenario:
    return Scenario(serve, tmp_path)


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
async def test_an_address_that_nobody_should_open_is_refused_unasked(scenario: Scenario, url: str) -> None:
    person = Person()
    scenario.office.addresses = lambda _: [url]
    async with scenario.desk(ERAS[0], person) as desk:
        result = await desk.look()
    assert result.is_error
    assert result.text.startswith("The server asked for an address that is not opened: ")
    assert person.asked == person.opened == desk.of(PageRequested) == []
    assert "asks for an address that is not opened" in desk.warned
    assert not url or url not in desk.warned + result.text


async def test_in_the_newer_era_a_refused_address_is_a_decline(scenario: Scenario) -> None:
    scenario.office.addresses = lambda _: ["file:///etc/passwd"]
    async with scenario.desk(ERAS[1], ApproveAs("learner")) as desk:
        assert (await desk.look()).is_error
    assert scenario.office.answers == ["decline"]


@pytest.mark.parametrize("era", ERAS)
async def test_a_server_that_always_needs_another_page_is_stopped(scenario: Scenario, era: str) -> None:
    person = Person()
    scenario.office.addresses = lambda call: [f"{scenario.office.url}/page?number={call}"]
    async with scenario.desk(era, person) as desk:
        result = await desk.look()
    assert result.is_error
    assert len(person.asked) == 3
    assert "more than 3 URLs" in result.text or "No account" in result.text


@pytest.mark.parametrize("era", ERAS)
async def test_a_server_that_needs_many_pages_at_once_is_stopped_too(scenario: Scenario, era: str) -> None:
    person = Person()
    scenario.office.addresses = lambda _: [f"{scenario.office.url}/page?number={n}" for n in range(50)]
    async with scenario.desk(era, person) as desk:
        result = await desk.look()
    assert result.is_error
    assert len(person.asked) == 3
    assert "more than 3 URLs" in result.text


async def test_a_server_that_ignores_every_answer_is_given_up(scenario: Scenario) -> None:
    async def deaf(ctx: Context) -> InputRequiredResult:
        """Ask for ever."""
        scenario.office.calls += 1
        url = f"{scenario.office.url}/page"
        params = ElicitRequestURLParams(message="!", url=url)
        return InputRequiredResult(input_requests={"k": ElicitRequest(params=params)}, request_state="s")

    scenario.office.look = deaf  # type: ignore[method-assign]
    deaf.__name__ = "look"
    person = Person(says=False)
    async with scenario.desk(ERAS[1], person) as desk:
        result = await desk.look()
    assert result.text == "The person did not agree to open the page that the server needs"
    assert len(person.asked) == 1
    assert scenario.office.calls < 6


@pytest.mark.parametrize("data", [None, [], "text", {}, {"elicitations": []}, {"elicitations": [{"a": 1}]}])
async def test_an_error_that_names_no_page_is_reported(scenario: Scenario, data: Any) -> None:
    async with scenario.desk(ERAS[0], Person()) as desk:
        result = await desk.tools.call_tool("nonsense", {"data": data})
    assert result == ToolResult("The server needs the person at a page, but does not name it", None, True)


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
    scenario: Scenario, page: str, end: str, told: str
) -> None:
    scenario.office.page, scenario.office.end = page, end
    async with scenario.desk(ERAS[0], ApproveAs("learner")) as desk:
        result = await desk.look()
    assert result.text == "The page that the server needs could not be completed"
    assert told in desk.warned


async def test_what_the_server_says_reaches_the_screen_harmless_and_short(scenario: Scenario) -> None:
    scenario.office.message = "\x1b[2J\u202eAll\n\nis {well} " + "x" * 5000
    async with scenario.desk(ERAS[0], Person(says=False)) as desk:
        await desk.look()
    out, err = io.StringIO(), io.StringIO()
    with View(Console(out, err)) as view:
        for event in desk.events:
            view.observe(event)
    shown = err.getvalue()
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "Its message: \\x1b[2J\\x202eAll is {well} xxx" in shown
    assert "x" * 400 not in shown
    assert f"\n  {scenario.office.addresses(1)[0]}\n" in shown, "the whole address on a line of its own"
