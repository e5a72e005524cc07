"""The pages as Chromium shows them: on a phone, in the dark, and all the way through the form."""

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.environment import IsolatedInstance
from tests.servers.gateway.harness import in_thread
from workshop.core.ports import free_port


@pytest.fixture
def port(running: IsolatedInstance) -> int:
    """That of the practice GitHub which `up` has started."""
    return running.ports["practice-github"]


@pytest.fixture(params=["light", "dark"])
def phone(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme=request.param)
    page = context.new_page()
    page.set_default_timeout(180_000)
    yield page
    context.close()


@pytest.fixture
def callback() -> Iterator[str]:
    """Where the app listens: another loopback port than the registered one, which GitHub allows."""
    app = Starlette(routes=[Route("/oauth/callback", lambda _: PlainTextResponse("the app has it"))])
    with in_thread(app, free_port()) as url:
        yield f"{url}/oauth/callback"


def authorize(port: int, callback: str) -> str:
    query = urlencode(
        {
            "client_id": "practice-workshop-app",
            "redirect_uri": callback,
            "scope": "repo read:org read:user user:email",
            "state": "state-1",
        }
    )
    return f"http://localhost:{port}/login/oauth/authorize?{query}"


def test_the_pages_fit_a_phone_and_load_nothing(port: int, phone: Page, callback: str) -> None:
    loaded: list[str] = []
    complaints: list[str] = []
    phone.on("request", lambda request: loaded.append(request.url))
    phone.on("console", lambda message: complaints.append(message.text))
    for url in (authorize(port, callback), f"http://localhost:{port}/"):
        phone.goto(url)
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390
        assert "not github.com" in phone.inner_text("body")
        assert phone.evaluate("getComputedStyle(document.body).backgroundColor") != "rgba(0, 0, 0, 0)"
    assert loaded == [authorize(port, callback), f"http://localhost:{port}/"]
    assert complaints == []


def test_a_person_continues_as_learner_and_lands_at_the_app_with_a_code(
    port: int, phone: Page, callback: str
) -> None:
    phone.goto(authorize(port, callback))
    phone.get_by_role("button", name="Continue as learner").click()
    phone.wait_for_url(f"{callback}?code=*&state=state-1")
    assert phone.inner_text("body") == "the app has it"


def test_a_person_denies_with_the_keyboard_alone(port: int, phone: Page, callback: str) -> None:
    phone.goto(authorize(port, callback))
    for _ in range(3):
        phone.keyboard.press("Tab")
    assert phone.evaluate("document.activeElement.innerText") == "Deny"
    phone.keyboard.press("Enter")
    phone.wait_for_url(f"{callback}?error=access_denied*state=state-1")
    assert phone.inner_text("body") == "the app has it"
