"""The README's pictures: light, on their own, and of what the commands show now."""

import re
import struct
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.environment import IsolatedInstance
from tests.pictures import flight_recorder, terminal
from tests.pictures.transcript import transcript
from tests.recorder.test_page import SAMPLE
from workshop.course.demo.session import normalised
from workshop.recorder import files

MOST_BYTES = 200_000


def drawn(svg: Path) -> str:
    """The text of a terminal's picture, row by row."""
    rows: dict[str, str] = {}
    for text in ET.parse(svg).iter("{http://www.w3.org/2000/svg}text"):
        rows.setdefault(text.attrib.get("clip-path", "title"), "")
        rows[text.attrib.get("clip-path", "title")] += text.text or ""
    rows.pop("title")
    return "\n".join(row.replace("\xa0", " ").rstrip() for row in rows.values())


def gist(text: str) -> list[str]:
    """What is said, without results: those are cut off where a port's length decides."""
    lines = [line.split(" · ")[0].removesuffix(" ·") for line in normalised(text).splitlines()]
    return [line for line in lines if line and not re.search(r'[{"]\w*"?:|…', line)]


def size(png: Path) -> tuple[int, int]:
    data = png.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def test_the_terminal_s_picture_shows_what_part_4_says_now(running: IsolatedInstance, tmp_path: Path) -> None:
    terminal.draw(running, tmp_path / "now.svg")
    now, then = gist(drawn(tmp_path / "now.svg")), gist(drawn(terminal.FILE))
    assert then[0] == "$ workshop part 4 run --approve-as learner"
    assert "✓ Call get_me()" in then
    assert now == then, "Draw it again: `uv run python -m tests.pictures.terminal`"


def test_the_terminal_s_picture_asks_the_network_for_nothing() -> None:
    tree = ET.parse(terminal.FILE)
    said = terminal.FILE.read_text(encoding="utf-8")
    assert {element.tag.rpartition("}")[2] for element in tree.iter()} <= {
        *("svg", "style", "defs", "clipPath", "rect", "text", "g", "circle")
    }
    assert "@" not in "".join(style.text or "" for style in tree.iter("{http://www.w3.org/2000/svg}style"))
    assert set(re.findall(r"url\((.)", said)) == {"#"}
    assert "href" not in said


@pytest.mark.parametrize("picture", [terminal.FILE, flight_recorder.FILE], ids=lambda path: path.name)
def test_a_picture_is_light(picture: Path) -> None:
    assert 1_000 < picture.stat().st_size < MOST_BYTES


def test_the_page_is_photographed_as_the_recorder_s_picture_was(browser: Browser, tmp_path: Path) -> None:
    page, picture = tmp_path / "trace.html", tmp_path / "page.png"
    files.write(files.read(SAMPLE), page)
    flight_recorder.photograph(browser, page, picture)
    assert size(picture) == size(flight_recorder.FILE)
    assert picture.stat().st_size < MOST_BYTES


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        ("one\r\ntwo\r\n", "one\ntwo"),
        ("\x1b[?25l⠋ wait\r\x1b[2K⠙ wait\r\x1b[2K✓ done\r\n\x1b[?25h", "✓ done"),
        ("⠋ a\r\n⠋ b\r\x1b[2K\x1b[1A\x1b[2K✓ a\r\n✓ b", "✓ a\n✓ b"),
        ("\x1b[1mbold\x1b[0m\r\n", "\x1b[1mbold\x1b[0m"),
        ("up\x1b[5A\x1b[2Kstays", "stays"),
    ],
)
def test_a_transcript_has_what_stays_on_the_screen(sent: str, left: str) -> None:
    assert transcript(sent) == left
