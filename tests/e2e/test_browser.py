"""A person with a browser: the pages as Chromium shows them, and the way through them."""

import re

import pexpect
from playwright.sync_api import Page

from tests.environment import IsolatedInstance


def start(running: IsolatedInstance) -> "tuple[pexpect.spawn[str], str]":
    """Part 4 on a terminal, up to the printed address."""
    child = running.spawn("part", "4", "run", "--no-browser", "--model", "rehearsal")
    child.expect(r"(http://localhost:\d+/oauth/authorize\?\S+)\s")  # a read may end in the middle of it
    assert isinstance(child.match, re.Match)
    return child, child.match.group(1)


def test_a_person_approves_in_the_browser_and_gets_the_answer(running: IsolatedInstance, page: Page) -> None:
    child, url = start(running)
    page.goto(url)
    assert "MCP workshop agent" in page.inner_text("body")
    assert "localhost:8765" in page.inner_text("body") or "localhost" in page.inner_text("body")
    page.get_by_role("button", name="Approve").click()
    assert "Practice GitHub" in page.inner_text("body")
    page.get_by_role("button", name=re.compile("learner")).click()
    page.get_by_text(re.compile("close this window", re.IGNORECASE)).wait_for()
    child.expect("GPX export drops the last waypoint")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_a_person_who_denies_ends_the_run_with_a_clear_word(running: IsolatedInstance, page: Page) -> None:
    child, url = start(running)
    page.goto(url)
    page.get_by_role("button", name="Deny").click()
    child.expect("Error: ")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 4


def test_the_consent_page_fits_a_phone_loads_nothing_and_runs_no_script(
    running: IsolatedInstance, page: Page
) -> None:
    child, url = start(running)
    requested: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("console", lambda message: problems.append(message.text))
    response = page.goto(url)
    assert response is not None
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("script").count() == 0
    assert {re.sub(r"[?].*", "", address) for address in requested} == {url.split("?")[0]}
    assert problems == []
    child.close(force=True)
