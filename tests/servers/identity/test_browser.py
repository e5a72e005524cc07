"""The provider's pages as Chromium shows them, and the way through them."""

from pathlib import Path
from urllib.parse import urlencode

import httpx2
from playwright.sync_api import Browser
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.servers.gateway.harness import NO_TLS, VERIFIER, in_thread, s256
from tests.servers.identity.provider import settings
from workshop.core.ports import free_port
from workshop.servers.identity.app import create_app


def authorize(issuer: str, callback: str) -> str:
    document = {"client_name": "A test client", "redirect_uris": [callback]}
    client = httpx2.post(f"{issuer}/oauth/register", json=document, verify=NO_TLS).json()
    parameters = {
        "response_type": "code",
        "client_id": client["client_id"],
        "redirect_uri": callback,
        "code_challenge": s256(VERIFIER),
        "code_challenge_method": "S256",
    }
    return f"{issuer}/oauth/authorize?{urlencode(parameters)}"


def test_a_person_approves_signs_in_and_is_sent_to_the_application(tmp_path: Path, browser: Browser) -> None:
    arrived: list[str] = []

    def callback(request: Request) -> PlainTextResponse:
        arrived.append(str(request.url))
        return PlainTextResponse("the application has it")

    # A server of its own: Playwright's `route` does not see the request that follows a redirect.
    application, port = Starlette(routes=[Route("/callback", callback)]), free_port()
    with (
        in_thread(application, free_port()) as client,
        in_thread(create_app(settings(tmp_path, port=port)), port) as issuer,
    ):
        context = browser.new_context(viewport={"width": 390, "height": 800})
        page = context.new_page()
        page.set_default_timeout(180_000)
        page.goto(authorize(issuer, f"{client}/callback"))
        page.get_by_role("button", name="Approve").click()
        page.get_by_role("heading", name="who are you").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.get_by_role("button", name="Lea Lerner (learner)").click()
        page.get_by_text("the application has it").wait_for()
        context.close()
    assert [("code=" in url, "iss=" in url) for url in arrived] == [(True, True)]
