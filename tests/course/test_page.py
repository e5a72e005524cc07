"""The page of `workshop open`, without a browser: who may read it, and what it is made from."""

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from tests.cli.conftest import Workshop, workshop
from tests.recorder.test_page import HOSTILE, SAMPLE, poisoned
from workshop.core.paths import parts_dir
from workshop.course.check_outcome import Outcome, outcomes_file, show_outcomes
from workshop.course.lessons import Lesson, find_lessons
from workshop.course.page.app import CompanionPage, changes, lesson_html, update
from workshop.recorder import files, live
from workshop.recorder.build import build_trace
from workshop.recorder.model import Outcome as Ended
from workshop.recorder.model import Request, Subject, Trace
from workshop.recorder.recorder import Recorder

__all__ = ["workshop"]

PORT = 23456


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKSHOP_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


@pytest.fixture
def lesson() -> Lesson:
    return find_lessons(parts_dir())[3]


@pytest.fixture
def page(lesson: Lesson) -> CompanionPage:
    return CompanionPage(lesson, PORT)


@pytest.fixture
async def http(page: CompanionPage) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=page.app())
    async with httpx2.AsyncClient(transport=transport, base_url=f"http://localhost:{PORT}") as client:
        yield client


async def test_the_printed_address_shows_the_lesson_under_a_strict_policy(
    page: CompanionPage, http: httpx2.AsyncClient
) -> None:
    answer = await http.get(page.url)
    assert answer.status_code == 200
    assert "<h1" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_every_page_links_to_the_others_below_the_same_token(
    page: CompanionPage, http: httpx2.AsyncClient
) -> None:
    other = page.url.replace("/part/4", "/part/1")
    assert httpx2.URL(other).path in (await http.get(page.url)).text
    assert "Part 1" in (await http.get(other)).text


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/wrong-token/part/4", {}, 404),
        ("/", {}, 404),
        ("/part/4", {}, 404),
        ("TOKEN/part/9", {}, 404),
        ("TOKEN/part/9/events", {}, 404),
        ("TOKEN/part/..%2f..%2f..%2fetc%2fpasswd", {}, 404),
        ("TOKEN/part/%2e%2e/events", {}, 404),
        ("TOKEN/trace", {}, 404),
        ("TOKEN/part/4", {"Host": "attacker.example"}, 421),
        ("TOKEN/part/4", {"Host": f"attacker.example:{PORT}"}, 421),
        ("TOKEN/part/4", {"Origin": "https://attacker.example"}, 403),
        ("TOKEN/part/4", {"Origin": "null"}, 403),
        ("TOKEN/part/4/events", {"Origin": "http://localhost:1"}, 403),
    ],
)
async def test_nobody_else_reads_the_page(
    page: CompanionPage, http: httpx2.AsyncClient, path: str, headers: dict[str, str], status: int
) -> None:
    token = "/" + page.url.split("/")[3]
    answer = await http.get(path.replace("TOKEN", token), headers=headers)
    assert answer.status_code == status
    assert "Headers and bodies" not in answer.text


async def test_it_is_only_read(page: CompanionPage, http: httpx2.AsyncClient) -> None:
    assert (await http.post(page.url)).status_code == 405


def test_two_pages_have_different_addresses(lesson: Lesson) -> None:
    assert CompanionPage(lesson, PORT).url != CompanionPage(lesson, PORT).url


@pytest.mark.parametrize("part", ["9", "../4", "4/../../etc", "", "\N{FULLWIDTH DIGIT FOUR}"])
def test_a_part_that_does_not_exist_is_one_of_our_errors(workshop: Workshop, part: str) -> None:
    outcome = workshop("open", part, "--no-browser")
    assert outcome.code == 2
    assert "There is no part" in outcome.err
    assert "1, 2, 3, 4" in outcome.err
    assert len(outcome.err.splitlines()) <= 6


def test_a_port_that_is_taken_is_one_of_our_errors(workshop: Workshop) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        outcome = workshop("open", "1", "--no-browser", "--port", str(taken.getsockname()[1]))
    assert outcome.code == 3
    assert "is already in use" in outcome.err


def test_a_lesson_has_anchors_commands_and_no_html_of_its_own() -> None:
    links = "[up](#run-it) [other](../01_agent_loop/README.md#x) [file](main.py) [bad](javascript:alert(1))"
    commands = "```sh\nworkshop up   # why\n# only a comment\n```"
    text = f"# A *title*\n\n## Run it\n\n## Run it\n\n{links}\n\n{commands}\n\n<script>alert(1)</script>"
    html = lesson_html(text, "/t/part/4")
    assert '<h2 id="run-it">' in html
    assert '<h2 id="run-it-1">' in html
    assert 'href="#run-it"' in html
    assert 'href="/t/part/1#x"' in html
    assert '<span class="file">file</span>' in html
    assert html.count("data-command=") == 1
    assert 'data-command="workshop up"' in html
    assert "<script" not in html
    assert 'href="javascript' not in html


def test_every_lesson_can_be_shown() -> None:
    for lesson in find_lessons(parts_dir()):
        html = lesson_html(lesson.readme, "/t/part/1")
        assert "data-command=" in html
        assert 'href="../' not in html


async def test_the_first_events_are_the_whole_page_and_the_next_is_what_has_changed(lesson: Lesson) -> None:
    with live.page_open():
        stream = changes(lesson)
        first = [await anext(stream) for _ in range(3)]
        assert [event.partition("\n")[0] for event in first] == [
            "event: handshake",
            "event: progress",
            "event: requests",
        ]
        write_live(files.read(SAMPLE))
        async with asyncio.timeout(60):
            event = await anext(stream)
        assert event.startswith("event: handshake\n")
        assert json.loads(event.partition("data: ")[2])["steps"] == 23
        await stream.aclose()


def write_live(trace: Trace, pid: int = 0) -> None:
    data = {"pid": pid, "trace": json.loads(files.to_json(trace))}
    live.live_file().write_text(json.dumps(data), "utf-8")


def test_what_a_server_sends_stays_text_on_the_page(lesson: Lesson) -> None:
    with live.page_open():
        write_live(files.from_data(poisoned(json.loads(SAMPLE.read_text("utf-8")))))
        show_outcomes("4", [Outcome("x", HOSTILE, None, "failed", HOSTILE)])
        html = update("handshake", lesson)["html"] + update("progress", lesson)["html"]
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    assert "<img" not in html


def test_each_request_shows_the_hops_that_are_reached(lesson: Lesson) -> None:
    with live.page_open():
        write_live(files.read(SAMPLE), pid=os.getpid())
        found = update("handshake", lesson)
        assert found["running"] is True
        assert found["html"].count('class="reached"') == 9
        assert "It is running" in found["html"]
        assert "It worked" not in found["html"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"pid": 1}', b'{"pid": 1, "trace": {}}', b"\xff"])
def test_a_live_file_that_is_damaged_counts_as_none(lesson: Lesson, damage: bytes) -> None:
    with live.page_open():
        live.live_file().write_bytes(damage)
        assert "Nothing has run" in update("handshake", lesson)["html"]


def test_only_an_open_page_makes_a_run_write_and_nothing_is_left(home: Path) -> None:
    assert not live.is_page_open()
    show_outcomes("4", [Outcome("x", "a sentence", None, "passed")])
    assert not (home / "page").exists()
    with live.page_open():
        assert live.is_page_open()
        show_outcomes("4", [Outcome("x", "a sentence", None, "passed", hints=("a hint",))])
        assert stat.S_IMODE(outcomes_file("4").stat().st_mode) == 0o600
        assert "a hint" not in outcomes_file("4").read_text("utf-8")
    assert not (home / "page").exists()


def test_the_mark_of_a_page_that_was_killed_does_not_count(home: Path) -> None:
    (home / "page").mkdir(parents=True)
    (home / "page" / "4194304.open").touch()  # above the highest pid of Linux
    (home / "page" / "x.open").touch()
    assert not live.is_page_open()
    assert list((home / "page").iterdir()) == []


async def test_a_run_writes_each_request_soon_and_without_its_secrets() -> None:
    secret = "canary-7e1d"
    recorder, upstreams = Recorder(), list[Request]()
    with live.page_open():
        writer = live.LiveWriter(
            recorder,
            lambda: upstreams,
            lambda hops: build_trace(recorder, Subject("x", secrets=(secret,)), Ended("interrupted"), hops),
        )
        recorder.received(f"http://localhost:1/callback?code={secret}-code&state=abcdefgh", 200)
        await written(1)
        assert stat.S_IMODE(live.live_file().stat().st_mode) == 0o600
        assert secret not in live.live_file().read_text("utf-8")
        recorder.built("http://localhost:1/oauth/authorize?response_type=code")
        await written(2)
        found = live.read_live()
        assert found is not None
        assert found.running
        writer.finish(found.trace)
        ended = live.read_live()
        assert ended is not None
        assert not ended.running


async def written(steps: int) -> None:
    """Wait until the live file has this many requests."""
    async with asyncio.timeout(60):
        while (found := live.read_live()) is None or len(found.trace.steps) != steps:  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.01)
