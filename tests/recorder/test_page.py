"""The page in Chromium: wide and narrow, light and dark, with and without scripts."""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from workshop.recorder import files

SAMPLE = Path(__file__).with_name("sample.json")
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&lt;{{ 7*7 }}"

RFC_SECTION = re.compile(r"https://www\.rfc-editor\.org/rfc/rfc\d{4}#section-[\d.]+")
# Words of the diagram and of the comparisons that stand on more than one line.
_BROKEN = """() => {
  const found = [];
  for (const element of document.querySelectorAll(".arrow span, .compared code, .compared small")) {
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      for (const word of walker.currentNode.data.matchAll(/[^\\s\\/_-]+/g)) {
        const range = document.createRange();
        range.setStart(walker.currentNode, word.index);
        range.setEnd(walker.currentNode, word.index + word[0].length);
        const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
        if (lines.size > 1) found.push(word[0]);
      }
    }
  }
  return found;
}"""
# The lowest contrast of any visible text with what is really behind it (WCAG 2.2, 1.4.3).
_CONTRAST = """() => {
  const light = (color) => {
    const [r, g, b] = color.map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = parse(getComputedStyle(one).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest("script")) continue;
    const [front, back] = [parse(getComputedStyle(element).color).slice(0, 3), behind(element)].map(light);
    const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
    found.push([ratio, walker.currentNode.data.trim().slice(0, 40)]);
  }
  return found.sort((a, b) => a[0] - b[0])[0];
}"""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "trace.html"
    files.write(files.read(SAMPLE), path)
    return path


def show(context: BrowserContext, path: Path) -> tuple[Page, list[str]]:
    """The page, and everything it asked for or complained about."""
    page, heard = context.new_page(), list[str]()
    page.set_default_timeout(180_000)
    page.on("request", lambda request: heard.append(request.url) if request.url != path.as_uri() else None)
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("dialog", lambda dialog: heard.append(dialog.message))
    page.goto(path.as_uri())
    return page, heard


@pytest.fixture
def shown(browser: Browser, page_file: Path) -> Iterator[tuple[Page, list[str]]]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    yield show(context, page_file)
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_and_can_be_read(
    browser: Browser, page_file: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page, heard = show(context, page_file)
    page.get_by_role("button", name="Open all details").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ratio, text = page.evaluate(_CONTRAST)
    assert ratio >= 4.5, text
    assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 16
    assert heard == []
    context.close()


@pytest.mark.parametrize("width", [390, 1280, 3840])
def test_no_word_of_the_diagram_or_of_a_comparison_is_broken(
    browser: Browser, page_file: Path, width: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800})
    page, _ = show(context, page_file)
    assert page.evaluate(_BROKEN) == []
    context.close()


def test_what_is_between_backticks_is_shown_as_code(shown: tuple[Page, list[str]]) -> None:
    page, _ = shown
    assert page.locator(".note code", has_text="--approve-as").count() == 1
    ours = page.locator(".note, .sentence, .end, .legend, footer p")
    assert not [text for text in ours.all_inner_texts() if "`" in text]


def test_the_page_has_the_structure_that_a_screen_reader_needs(shown: tuple[Page, list[str]]) -> None:
    page, _ = shown
    assert page.locator("html").get_attribute("lang") == "en"
    levels = page.locator("h1,h2,h3,h4").evaluate_all(
        "found => found.filter(one => one.checkVisibility()).map(one => Number(one.tagName[1]))"
    )
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
    steps = json.loads(SAMPLE.read_text("utf-8"))["steps"]
    assert page.locator("main ol > li[id]").count() == len(steps)
    assert page.locator("main").get_by_text("Agent → Gateway").count() > 5, (
        "the diagram itself is hidden from it"
    )
    names = page.locator("summary").evaluate_all("found => found.map(one => one.textContent)")
    assert len(names) == len(set(names)) == len(steps)
    assert page.locator("[style], [onclick], img, link").count() == 0
    links = page.locator("a[href^=http]").evaluate_all("found => found.map(one => one.href)")
    assert links
    assert not [link for link in links if not RFC_SECTION.fullmatch(link)], (
        "only to the RFCs, and only if clicked"
    )


BAR_AND_TEXT = """() => {
    const row = document.activeElement, inset = getComputedStyle(row).boxShadow.includes("inset");
    const wide = Math.abs(parseFloat(getComputedStyle(row).boxShadow.match(/(-?[\\d.]+)px/)[1]));
    const left = row.getBoundingClientRect().left - (inset ? 0 : wide);
    return [left, left + wide, row.querySelector("h3").getBoundingClientRect().left];
}"""


def test_the_bar_of_the_selected_request_covers_no_letter_on_a_telephone(
    shown: tuple[Page, list[str]],
) -> None:
    page, _ = shown
    page.set_viewport_size({"width": 360, "height": 700})
    page.keyboard.press("j")
    start, end, text = page.evaluate(BAR_AND_TEXT)
    assert 0 <= start < end <= text


def test_the_keyboard_moves_through_the_requests_and_opens_them(shown: tuple[Page, list[str]]) -> None:
    page, _ = shown
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(3):
        page.keyboard.press("j")
    page.keyboard.press("k")
    assert page.evaluate("document.activeElement.id") == "hop-2"
    page.keyboard.press("Enter")
    assert page.locator("#hop-2 details").get_attribute("open") is not None
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"


def test_pointing_at_a_label_shows_where_the_same_secret_is(shown: tuple[Page, list[str]]) -> None:
    page, _ = shown
    page.locator("#hop-13 .compared .chip.code").first.hover()
    marked = page.locator(".chip.same").evaluate_all("found => found.map(one => one.dataset.label)")
    assert set(marked) == {"code-2"}
    assert len(marked) > 2


def test_the_page_is_whole_without_scripts(browser: Browser, page_file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page, _ = show(context, page_file)
    assert page.get_by_role("button", name="Open all details").count() == 0
    assert page.get_by_text("The code becomes an access token").is_visible()
    page.locator("#hop-1 summary").click()
    assert page.locator("#hop-1 pre").first.is_visible()
    context.close()


def test_on_paper_every_detail_is_there(shown: tuple[Page, list[str]]) -> None:
    page, _ = shown
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert page.locator(".tools").is_visible() is False


def poisoned(value: Any, key: str = "") -> Any:
    """The same trace with every text that a server could choose replaced."""
    kept = {"format", "kind", "phase", "seen_by", "status", "relation", "id", "sender", "receiver", "began"}
    if isinstance(value, dict):
        replaced = {name: poisoned(inner, name) for name, inner in value.items()}
        return {HOSTILE: HOSTILE, **replaced} if key in {"header", "payload"} else replaced
    if isinstance(value, list):
        return [poisoned(inner, key) for inner in value]
    return HOSTILE if isinstance(value, str) and key not in kept else value


def test_what_a_server_sends_does_not_become_part_of_the_page(browser: Browser, tmp_path: Path) -> None:
    trace = files.from_data(poisoned(json.loads(SAMPLE.read_text("utf-8"))))
    files.write(trace, tmp_path / "hostile.html")
    context = browser.new_context(viewport={"width": 390, "height": 800})
    page, heard = show(context, tmp_path / "hostile.html")
    assert page.locator("script").count() == 1
    assert page.locator("img").count() == 0
    assert HOSTILE in page.inner_text("h1")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert heard == []
    context.close()
