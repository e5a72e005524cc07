"""The page of `workshop open` in Chromium, beside a terminal where things happen."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Literal

import pexpect
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.test_browser import start
from tests.environment import IsolatedInstance
from workshop.core.paths import parts_dir

MINUTE = 60_000
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
expect.set_options(timeout=MINUTE)
EXERCISES = parts_dir() / "01_agent_loop" / "exercises"


@contextmanager
def opened(instance: IsolatedInstance) -> Iterator[str]:
    """The address that `workshop open 4` prints; it ends with Ctrl-C."""
    child = instance.spawn("open", "4", "--no-browser", timeout=60)
    child.expect(r"(http://localhost:\d+/[\w-]+/part/4)\s")
    assert isinstance(child.match, re.Match)
    yield child.match.group(1)
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert not (instance.home / "page").exists(), "what runs wrote for the page goes with it"


@pytest.fixture
def address(running: IsolatedInstance) -> Iterator[str]:
    with opened(running) as found:
        yield found


@pytest.fixture
def desk(browser: Browser) -> Iterator[Page]:
    """A page as wide as a laptop's screen; whatever its console reports fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    shown, heard = context.new_page(), list[str]()
    shown.set_default_timeout(MINUTE)
    shown.on("console", lambda message: heard.append(message.text))
    shown.on("pageerror", lambda error: heard.append(str(error)))
    yield shown
    context.close()
    assert [text for text in heard if "ERR_" not in text] == []


def reached(page: Page) -> list[str]:
    return page.locator(".hops .reached b").all_inner_texts()


def test_each_hop_appears_as_it_happens(
    running: IsolatedInstance, address: str, desk: Page, page: Page
) -> None:
    desk.goto(address)
    desk.get_by_role("tab", name="Handshake").click()
    expect(desk.get_by_text("Nothing has run since")).to_be_visible()
    child, url = start(running)
    expect(desk.locator(".hops .reached")).to_have_count(5)  # now it waits for a person
    expect(desk.locator("#pulse")).to_be_visible()
    assert reached(desk) == ["1", "2", "3", "4", "5"]
    assert desk.locator(".compared li.holds").count() > 3
    assert "It worked" not in desk.inner_text("body")
    page.goto(url)
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("button", name=re.compile("learner")).click()
    child.expect(pexpect.EOF, timeout=60)
    expect(desk.get_by_text("It worked")).to_be_visible()
    assert reached(desk) == [str(number) for number in range(1, 10)]
    expect(desk.locator("#pulse")).to_be_hidden()
    assert "Two tokens, and neither passes the proxy" in desk.inner_text("#live")
    secret = re.search(r"state=([\w-]{8,})", url)
    assert secret
    assert secret[1] not in desk.content()
    desk.get_by_role("tab", name="At the proxy").click()
    for number, name in ((1, "refusal"), (4, "registration"), (8, "token"), (9, "swap")):
        expect(desk.locator(".received td", has_text=f"{number} {name}").first).to_be_visible()
    desk.get_by_role("tab", name="Handshake").click()
    requests = desk.locator("#live .row[id]").count()
    desk.get_by_role("link", name=re.compile("As the flight recorder")).click()
    desk.wait_for_url(re.compile("/trace$"))
    assert desk.locator("main ol > li[id]").count() == requests > 9


def test_a_passed_exercise_turns_green_and_the_next_command_follows(
    instance: IsolatedInstance, desk: Page
) -> None:
    # An instance of its own: in the shared one, another test may have solved the exercise.
    with opened(instance) as address:
        desk.goto(address.replace("/part/4", "/part/1"))
        exercise = desk.locator("[data-exercise='1']")
        expect(exercise).to_have_class("open")
        assert instance.run("part", "1", "exercise", "1").returncode == 0
        expect(exercise).to_have_class("begun")
        expect(exercise.get_by_text("workshop part 1 check 1", exact=True)).to_be_visible()
        folder = next(EXERCISES.glob("1_*"))
        (file,) = (instance.folder / "workshop-exercises" / "part1").glob("1_*")
        shutil.copyfile(next(folder.glob("solution.*")), file)
        assert instance.run("part", "1", "check", "1").returncode == 0
        expect(exercise).to_have_class("passed")
        instance.run("part", "1", "check")
        expect(desk.get_by_text("The last check")).to_be_visible()


def test_on_stage_the_arrow_keys_show_one_request_at_a_time(
    running: IsolatedInstance, address: str, desk: Page
) -> None:
    assert running.run("part", "4", "run", "--approve-as", "learner").returncode == 0
    desk.goto(f"{address}?present")
    current = desk.locator(".row.current")
    expect(current).to_have_count(1)
    assert current.get_attribute("id") == "hop-1"
    for _ in range(3):
        desk.keyboard.press("ArrowRight")
    desk.keyboard.press("ArrowLeft")
    assert current.get_attribute("id") == "hop-3"
    assert desk.locator(".row .explained:visible").count() == 1
    assert desk.locator(".hops .current b").inner_text() == "3"
    desk.keyboard.press("End")
    assert desk.locator(".hops .current b").inner_text() == "9"
    desk.keyboard.press("Escape")
    assert desk.locator(".row:visible").count() > 20


def test_the_page_fits_every_screen(running: IsolatedInstance, address: str, browser: Browser) -> None:
    """In one run: `workshop open` and `part 4 run` for each screen would take most of the time."""
    assert running.run("part", "4", "run", "--approve-as", "learner").returncode == 0
    for width, scheme in product((390, 1280, 3840), SCHEMES):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        opened = context.new_page()
        opened.set_default_timeout(MINUTE)
        opened.goto(address)
        opened.locator("#progress h2").first.wait_for()
        for tab in ("Lesson", "Handshake", "At the proxy"):
            opened.get_by_role("tab", name=tab).click()
            shown = (width, scheme, tab)
            assert opened.evaluate("document.documentElement.scrollWidth") <= width, shown
            assert opened.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 16, shown
        context.close()


def test_a_command_is_copied_and_an_anchor_leads_to_its_heading(address: str, browser: Browser) -> None:
    context = browser.new_context()
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened = context.new_page()
    opened.set_default_timeout(MINUTE)
    opened.goto(address)
    opened.get_by_role("button", name="Copy workshop part 4 run", exact=True).first.click()
    opened.get_by_text("Copied").first.wait_for()
    assert opened.evaluate("navigator.clipboard.readText()") == "workshop part 4 run"
    anchors = opened.locator("article h2[id]").evaluate_all("found => found.map(one => one.id)")
    assert len(anchors) == len(set(anchors)) > 3
    context.close()


def test_a_browser_that_has_only_the_port_sees_nothing(address: str, page: Page) -> None:
    answer = page.goto(f"{address.rpartition('/part')[0].rpartition('/')[0]}/guess/part/4")
    assert answer is not None
    assert answer.status == 404
    assert "Lesson" not in page.inner_text("body")


def test_the_page_says_when_its_program_has_ended(running: IsolatedInstance, desk: Page) -> None:
    child = running.spawn("open", "1", "--no-browser", timeout=60)
    child.expect(r"(http://localhost:\d+/[\w-]+/part/1)\s")
    assert isinstance(child.match, re.Match)
    desk.goto(child.match.group(1))
    desk.locator("#progress h2").first.wait_for()
    expect(desk.locator("#lost")).to_be_hidden()
    child.sendintr()
    child.expect(pexpect.EOF)
    expect(desk.locator("#lost")).to_be_visible()
