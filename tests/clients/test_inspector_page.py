"""The Inspector's page in Chromium, at an origin of its own: connect, log in, list, call.

Version 1 can speak to a server from the page itself ("Direct"), so that the browser asks for every permission
(CORS). Version 2's page goes through the Inspector's own program.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.clients.conftest import Server
from tests.clients.packages import Npm, started
from workshop.core.ports import free_port

pytestmark = pytest.mark.timeout(400)
SECONDS = 60_000


@contextmanager
def program(npm: Npm, name: str, home: Path, port: int, *words: str, **ports: str) -> Iterator[str]:
    """An Inspector that serves its page; gives the page's address."""
    environment = {
        "HOME": str(home),
        "CLIENT_PORT": str(port),
        "MCP_AUTO_OPEN_ENABLED": "false",
        "MCP_INSPECTOR_SECRET_STORE": "file",
        "DANGEROUSLY_OMIT_AUTH": "true",  # its own token, not the server's
        **ports,
    }
    with started([npm.program(name), *words], npm.to_run(environment), home) as process:
        assert process.stdout
        written: list[str] = []
        while not written or f":{port}" not in written[-1]:
            written.append(process.stdout.readline())
            assert written[-1], "".join(written)
        yield written[-1].split()[-1]


@pytest.fixture
def wide(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1300, "height": 1000}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    yield page
    context.close()


def approve(page: Page, port: int) -> None:
    """A person's clicks, on each page until the browser is back at the Inspector's."""
    while f":{port}/" not in page.url:
        with page.expect_navigation():
            page.get_by_role("button", name=re.compile("Approve|learner")).first.click()


def test_version_1_speaks_from_the_page(npm: Npm, server: Server, wide: Page, tmp_path: Path) -> None:
    if server.headers:
        pytest.skip("the page has no way to add a header by its address")
    port, proxy = free_port(), free_port()
    with program(npm, "inspector-1", tmp_path, port, SERVER_PORT=str(proxy)):
        asked: list[str] = []
        wide.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
        address = f"http://localhost:{port}/?transport=streamable-http&serverUrl={quote(server.url, safe='')}"
        wide.goto(address)
        wide.get_by_role("combobox").nth(1).click()
        wide.get_by_role("option", name="Direct").click()
        wide.get_by_role("button", name="Connect").click()
        wide.wait_for_url(lambda url: f":{port}/" not in url)
        approve(wide, port)
        wide.get_by_role("tab", name="Tools").click()
        wide.get_by_role("button", name="List Tools").click()
        wide.get_by_text(server.tool, exact=True).first.click()
        wide.get_by_role("button", name="Run Tool").click()
        expect(wide.locator("body")).to_contain_text(server.answer, timeout=SECONDS)
        assert f"POST {server.url}" in asked
        assert not [line for line in asked if f":{proxy}/mcp" in line]


def test_version_2_connects_lists_and_calls(npm: Npm, server: Server, wide: Page, tmp_path: Path) -> None:
    if server.headers:
        pytest.skip("the page would have to be given a secret on the command line")
    ports = {"MCP_SANDBOX_PORT": str(free_port()), "MCP_APP_ORIGIN_PORT": str(free_port())}
    words = ("--web", "--server-url", server.url, "--transport", "http")
    port = free_port()
    with program(npm, "mcp-inspector", tmp_path, port, *words, **ports) as address:
        wide.goto(address)
        switch = wide.get_by_role("switch").first
        expect(switch).to_be_visible(timeout=SECONDS)
        switch.click(force=True)
        wide.wait_for_url(lambda url: f":{port}/" not in url)
        approve(wide, port)
        wide.get_by_text("Tools", exact=True).first.click()
        wide.get_by_text(server.tool).first.click()
        wide.get_by_role("button", name="Execute").first.click()
        expect(wide.locator("body")).to_contain_text(server.answer, timeout=SECONDS)
