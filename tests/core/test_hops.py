"""One numbering of the handshake: the lesson, `main.py`, the screen, the pages and the traces agree."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.agent.test_view import Screen
from workshop.agent import events as on
from workshop.agent.listener import Page
from workshop.core import hops
from workshop.core.hops import HOPS, Hop, hop
from workshop.core.pages import STYLE, page_environment
from workshop.core.paths import parts_dir
from workshop.recorder.files import explain, read
from workshop.recorder.wording import WAITING, WORDS, chapter, hop_number

FOLDER = parts_dir() / "04_remote_oauth"
NUMBERS = list(range(1, 10))
WORKSHOP = Path(__file__).parents[2] / "workshop"
PAGES = sorted(page for folder in ("auth", "servers") for page in (WORKSHOP / folder).rglob("*.html"))
SHOWN: Mapping[int, on.Event] = {
    hops.REFUSAL: on.LoginRequired("http://localhost:8080/mcp", 401),
    hops.RESOURCE: on.ResourceDiscovered("http://localhost:8080/", "http://localhost:8080"),
    hops.ISSUER: on.ServerDiscovered("http://localhost:8080"),
    hops.REGISTRATION: on.ClientRegistered("a client"),
    hops.CONSENT: on.ApprovalNeeded("http://localhost:8080/oauth/authorize", "printed"),
    hops.CODE: on.Approved(),
    hops.TOKEN: on.TokenReceived("openid", 3600),
}


def test_the_hops_are_numbered_from_1_to_9_and_each_has_a_name_of_its_own() -> None:
    assert [one.number for one in HOPS] == NUMBERS
    assert len({one.name for one in HOPS}) == len(HOPS)
    assert all(hop(one.number) is one for one in HOPS)


@pytest.mark.parametrize("one", HOPS, ids=lambda one: one.name)
def test_a_constant_has_the_number_of_its_name(one: Hop) -> None:
    assert getattr(hops, one.name.upper().replace("-", "_")) == one.number


def test_main_py_lists_the_hops_with_their_names() -> None:
    text = (FOLDER / "main.py").read_text("utf-8")
    listed = re.findall(r"^ +(\d) ([a-z-]+) {2,}\S", text, re.MULTILINE)
    assert listed == [(str(one.number), one.name) for one in HOPS]


def test_the_lesson_explains_the_hops_under_their_names() -> None:
    text = (
        (FOLDER / "README.md").read_text("utf-8").partition("\n## What happened\n")[2].partition("\n## ")[0]
    )
    explained = re.findall(r"^(\d)\. \*\*([A-Z][a-z-]+)\.\*\*", text, re.MULTILINE)
    assert explained == [(str(one.number), one.name.capitalize()) for one in HOPS]


def test_the_page_beside_the_lesson_does_every_hop_by_hand() -> None:
    headings = re.findall(r"^## Hops? (.+)$", (FOLDER / "by-hand.md").read_text("utf-8"), re.MULTILINE)
    names = [name for heading in headings for name in heading.partition(": ")[2].split(", ")]
    assert names == [one.name for one in HOPS]


def test_a_login_on_the_screen_shows_every_hop_in_order() -> None:
    shown = Screen().show(*SHOWN.values())
    numbers = [int(number) for number in re.findall(r"^(?:  |✓ )hop (\d)  ", shown, re.MULTILINE)]
    assert numbers == NUMBERS


@pytest.mark.parametrize("number", SHOWN)
def test_an_event_of_the_login_is_shown_with_its_hop(number: int) -> None:
    assert f"  hop {number}  " in Screen().show(SHOWN[number])


def test_a_trace_has_a_chapter_for_each_hop() -> None:
    lines = explain(read(Path(__file__).parents[1] / "recorder" / "sample.json"))
    assert [line.strip("─ ") for line in lines if line.startswith("──")] == [one.label for one in HOPS]


def test_every_kind_of_request_belongs_to_a_hop_and_none_of_the_handshake_lacks_one() -> None:
    assert {words.hop for words in WORDS.values()} == set(NUMBERS)


def test_a_page_of_the_upstream_during_a_call_is_a_late_sign_in() -> None:
    assert hop_number("mcp", "calls") == hops.SWAP
    assert hop_number("mcp", WAITING) == hops.SIGN_IN
    assert chapter("visit", WAITING) == "Hop 6 of 9: sign-in, while a call waits"


def test_a_request_of_another_version_s_trace_keeps_the_name_of_its_phase() -> None:
    assert hop_number("unheard-of", "calls") is None
    assert chapter("unheard-of", "calls") == "calls"


@pytest.mark.parametrize("one", HOPS, ids=lambda one: one.name)
def test_a_page_of_a_login_shows_its_hop(one: Hop) -> None:
    shown = page_environment(FOLDER).from_string("{% extends 'base.html' %}").render(hop=one.number)
    assert f"{one.label}." in shown
    assert f"{one.label}." in Page(200, "Title", "Text", one.number).response().decode()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_of_a_server_has_the_same_look(page: Path) -> None:
    assert re.match(r"\{% extends \"(base|practice)\.html\" %\}\n", page.read_text("utf-8"))


def test_the_agents_page_has_it_too() -> None:
    assert f"<style>{STYLE}</style>" in Page(200, "Title", "Text").response().decode()


def test_a_page_outside_the_handshake_shows_no_hop() -> None:
    assert " of 9" not in page_environment(FOLDER).from_string("{% extends 'base.html' %}").render()
    assert " of 9" not in Page(404, "Title", "Text").response().decode()
