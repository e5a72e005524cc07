"""Pictures of the page of `workshop open`, for a look at it: three widths, light and dark, and the stage.

Run: uv run python -m tests.pictures.companion_page FOLDER
"""

import re
import shutil
import sys
from itertools import product
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, sync_playwright

from tests.conftest import CHROMIUM_OPTIONS
from tests.pictures.instance import PORTS, running_instance

SCREENS = ((390, 844), (1280, 800), (3840, 2160))
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
VIEWS = ("lesson", "handshake", "requests")


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with running_instance(PORTS) as instance, sync_playwright() as started:
        child = instance.spawn("open", "4", "--no-browser", timeout=60)
        child.expect(r"(http://localhost:\d+/[\w-]+/part/4)\s")
        assert isinstance(child.match, re.Match)
        address = child.match.group(1)
        done = instance.run("part", "4", "run", "--approve-as", "learner")
        if done.returncode:
            raise SystemExit(done.stderr)
        browser = started.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("chromium-browser"),
            args=CHROMIUM_OPTIONS,
        )
        photograph(browser, address, folder)
        browser.close()
        child.close(force=True)


def photograph(browser: Browser, address: str, folder: Path) -> None:
    """A picture of each view, and of two requests on stage, for each screen and scheme."""
    for (width, height), scheme in product(SCREENS, SCHEMES):
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
        )
        page = context.new_page()
        page.set_default_timeout(180_000)
        page.goto(address)
        page.locator("#progress h2").first.wait_for()
        for view in VIEWS:
            page.locator(f"#tab-{view}").click()
            page.screenshot(path=folder / f"{view}-{width}-{scheme}.png")
        page.goto(f"{address}?present")
        page.locator(".row.current").wait_for()
        page.screenshot(path=folder / f"stage-first-{width}-{scheme}.png")
        page.keyboard.press("End")
        page.screenshot(path=folder / f"stage-last-{width}-{scheme}.png")
        context.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
