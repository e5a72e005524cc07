"""The README's first picture: the token swap on the page of a real part 4's trace, in Chromium.

Run: uv run python -m tests.pictures.flight_recorder
"""

import shutil
from pathlib import Path

from playwright.sync_api import Browser, ViewportSize, sync_playwright

from tests.conftest import CHROMIUM_OPTIONS
from tests.environment import IsolatedInstance
from tests.pictures.instance import PICTURES, PORTS, running_instance

FILE = PICTURES / "flight-recorder.png"
SWAP = "The token swap"
_SCREEN = ViewportSize(width=1100, height=820)


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        message = "Chromium is not installed"
        raise SystemExit(message)
    with running_instance(PORTS) as instance, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        photograph(browser, recorded(instance), FILE)
        browser.close()


def recorded(instance: IsolatedInstance) -> Path:
    """The page that `part 4 run --trace` writes in an instance that is up."""
    page = instance.folder / "trace.html"
    done = instance.run("part", "4", "run", "--approve-as", "learner", "--trace", str(page))
    if done.returncode:
        raise SystemExit(done.stderr)
    return page


def photograph(browser: Browser, page_file: Path, picture: Path) -> None:
    """The screen with the first token swap, light."""
    context = browser.new_context(viewport=_SCREEN, color_scheme="light", reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(180_000)
    page.goto(page_file.as_uri())
    swap = page.locator(".row", has_text=SWAP).first
    assert SWAP in swap.inner_text()
    swap.evaluate("row => row.closest('.phase').scrollIntoView()")
    picture.parent.mkdir(exist_ok=True)
    page.screenshot(path=picture)
    context.close()


if __name__ == "__main__":
    main()
