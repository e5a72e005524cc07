"""`workshop part 4 compare`: the tables in a terminal, the page in a browser, and what is refused at once."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from tests.cli.conftest import Workshop
from workshop.audit.compare import comparison as comparing
from workshop.audit.compare.comparison import Column, Comparison, NotStarted
from workshop.audit.compare.evidence import Cell, Evidence
from workshop.audit.compare.rows import ROWS
from workshop.cli.audit import compared, tables_for

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOSTILE = "<script>alert(1)</script> `\"'><img src=x onerror=alert(1)>`"
NAMES = ("toolhive", "worker", "worker (weak)", "elicitation", "resource-server", "prefix-gateway")


@pytest.fixture
def comparison(right: Evidence) -> Comparison:
    """Six systems, one of which sent hostile text."""
    cells = {row.id: row.cell(right) for row in ROWS}
    columns = [Column(name, "A title", right.url, 2.5, cells) for name in NAMES]
    hostile = {row.id: Cell(HOSTILE, HOSTILE, "bad") for row in ROWS}
    columns[2] = replace(columns[2], cells=hostile)
    return Comparison(columns, (NotStarted("x", HOSTILE, "why", "hint"),), 30.2)


@pytest.mark.parametrize(
    ("width", "each"), [(None, 6), (200, 6), (120, 5), (80, 3), (60, 2), (40, 1), (12, 1)]
)
def test_a_narrow_terminal_gets_fewer_systems_in_each_table(
    comparison: Comparison, width: int | None, each: int
) -> None:
    found = [list(table.columns[1:]) for table in tables_for(comparison.columns, width)]
    assert [name for some in found for name in some] == list(NAMES)
    assert max(len(some) for some in found) == each


def test_one_system_is_counted_as_one(comparison: Comparison) -> None:
    alone = replace(comparison, columns=comparison.columns[:1], not_started=())
    cells = len(ROWS)
    assert compared(alone) == f"1 system, {cells} observations, 30 s"
    assert compared(comparison) == f"6 systems, {6 * cells} observations, 30 s; 1 did not start"


def test_the_page_escapes_what_a_system_sent(comparison: Comparison) -> None:
    html = comparing.to_html(comparison)
    assert "<script" not in html
    assert "<img" not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 2 * len(ROWS)
    assert "<code>&#34;&#39;&gt;&lt;img src=x onerror=alert(1)&gt;</code>" in html


def test_the_page_is_read_at_each_width_and_in_the_dark(
    comparison: Comparison, browser: "Browser", tmp_path: Path
) -> None:
    comparing.write(comparison, tmp_path / "compare.html")
    schemes: tuple[tuple[int, Literal["dark", "light"]], ...] = ((390, "dark"), (1280, "light"))
    for width, scheme in schemes:
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        shown, heard = context.new_page(), list[str]()
        shown.set_default_timeout(180_000)
        _listen(shown, heard)
        shown.goto((tmp_path / "compare.html").as_uri())
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        assert shown.locator("tbody tr").count() == len(ROWS)
        shown.click("a[href='#pkce-4']")
        assert shown.locator("#pkce-4").is_visible()
        assert heard == []
        context.close()


def _listen(shown: "Page", heard: list[str]) -> None:
    shown.on("console", lambda message: heard.append(message.text))
    shown.on("pageerror", lambda error: heard.append(str(error)))


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--only", "nobody"], "Unknown system `nobody`"),
        (["--only", "toolhive", "--weak"], "toolhive has no weak edition"),
        (["--html", "page.txt"], "`page.txt` is not an HTML file"),
        (["--html", "nowhere/page.html"], "Cannot write the page to `nowhere/page.html`"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_runs(
    workshop: Workshop, words: list[str], what: str
) -> None:
    done = workshop("part", "4", "compare", *words, "--json")
    assert (done.code, json.loads(done.out)["error"]["what"]) == (2, what)
