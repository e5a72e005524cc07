"""The comparison from end to end, over real systems: with holes, without, and broken ones."""

import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import psutil
import pytest

from workshop.audit.compare.comparison import Comparison, compare
from workshop.audit.compare.rows import ROWS
from workshop.audit.compare.systems import System
from workshop.cli.main import main
from workshop.cli.terminal import console
from workshop.core.console import Console
from workshop.course.lessons import Lesson, Variation, find_lessons

CHANGED = {"kept", "pkce", "consent", "audience", "challenge", "registration", "iss", "findings"}
"""The rows in which the worker's two editions have to differ."""
SAME = {"issuer", "credential", "prefix", "answered"}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, dict[str, Any], Path]]:
    """Part 4's own gateway, and the worker in both editions, compared once for all tests here."""
    folder = tmp_path_factory.mktemp("compare")
    with pytest.MonkeyPatch.context() as patch, io.StringIO() as out:
        patch.setenv("WORKSHOP_HOME", str(folder / "home"))
        patch.setattr("tempfile.tempdir", str(folder))  # what is left can be told from other tests' processes
        patch.chdir(folder)
        patch.setattr("sys.stdout", out)
        patch.setattr("sys.stderr", io.StringIO())
        # What a system does in time may take longer on a machine that others use too.
        for bound in ("collect._SECONDS", "collect._AGENT_SECONDS", "systems._READY_SECONDS"):
            patch.setattr(f"workshop.audit.compare.{bound}", 100.0)
        console.cache_clear()
        only = ["--only", "toolhive", "--only", "worker", "--weak"]
        code = main(["part", "4", "compare", *only, "--html", "page.html", "--json"])
        console.cache_clear()
        yield code, json.loads(out.getvalue()), folder


@pytest.fixture(scope="module")
def cells(outcome: tuple[int, dict[str, Any], Path]) -> dict[str, dict[str, dict[str, str]]]:
    return {system["name"]: system["cells"] for system in outcome[1]["data"]["systems"]}


@pytest.fixture(scope="module")
def part_4() -> Lesson:
    return next(lesson for lesson in find_lessons() if lesson.number == 4)


def test_every_system_answers_and_every_cell_is_filled(
    outcome: tuple[int, dict[str, Any], Path], cells: dict[str, dict[str, dict[str, str]]]
) -> None:
    code, document, folder = outcome
    assert (code, document["status"], list(cells)) == (0, "success", ["toolhive", "worker", "worker (weak)"])
    for name, found in cells.items():
        assert list(found) == [row.id for row in ROWS]
        unseen = {row: cell["seen"] for row, cell in found.items() if cell["tone"] == "unseen"}
        assert (name, unseen) == (name, {})
        assert found["answered"]["value"] == "yes"
    assert "What was observed" in (folder / "page.html").read_text("utf-8")
    assert not (folder / "home" / "default" / "logins").exists(), "the person's own logins are not touched"


def test_part_4s_gateway_is_as_its_own_tests_hold_it(cells: dict[str, dict[str, dict[str, str]]]) -> None:
    values = {row: cell["value"] for row, cell in cells["toolhive"].items()}
    wanted = {
        "issuer": "the server itself",
        "credential": "OAuth, within the login",
        "kept": "on disk, no plaintext",
        "passthrough": "no",
        "pkce": "enforced",
        "consent": "asked by the server",
        "audience": "checked (aud)",
        "iss": "yes",
        "refresh": "works, rotates",
        "cleanup": "complete; GitHub's approval remains",
        "findings": "none",
    }
    assert {row: values[row] for row in wanted} == wanted


def test_tampering_changes_every_row_that_it_should(cells: dict[str, dict[str, dict[str, str]]]) -> None:
    mended, weak = cells["worker"], cells["worker (weak)"]
    assert {row for row in CHANGED if mended[row]["value"] == weak[row]["value"]} == set()
    assert {row for row in CHANGED if mended[row]["seen"] == weak[row]["seen"]} == set()
    assert {row: weak[row]["tone"] for row in CHANGED} == dict.fromkeys(CHANGED, "bad")
    assert {row: mended[row]["tone"] for row in CHANGED} == dict.fromkeys(CHANGED, "good")
    assert {row for row in SAME if mended[row]["value"] != weak[row]["value"]} == set()


def test_each_was_sent_the_tokens_of_its_neighbours(
    cells: dict[str, dict[str, dict[str, str]]],
) -> None:
    assert "the token of worker (401" in cells["toolhive"]["audience"]["seen"]
    assert "the token of toolhive (401" in cells["worker"]["audience"]["seen"]


def test_nothing_is_left_running(outcome: tuple[int, dict[str, Any], Path]) -> None:
    ports = [int(system["url"].split(":")[2].split("/")[0]) for system in outcome[1]["data"]["systems"]]
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    mark = f"{outcome[2]}/workshop-compare-"
    left = [process for process in psutil.process_iter() if mark in " ".join(_words(process))]
    assert left == []


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


PART = """
title = "Broken"
summary = "Broken"
question = "Which of my repositories has the most open issues, and what is its newest issue about?"
expect = ["trail-mapper"]
[timeouts]
ready = 10
[[workloads]]
name = "broken"
run = "server.py"
local_port = 8191
[workloads.config]
url = "{url:broken}"
"""
MUTE = """
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route
    from workshop.core.serving import main

    async def health(_):
        return PlainTextResponse("ok")

    if __name__ == "__main__":
        main(lambda _: Starlette(routes=[Route("/health", health)]))
"""
DEAD = """
    import sys
    sys.exit("It has no wish to start")
"""


def broken(folder: Path, part: Lesson, program: str) -> System:
    """A variation whose server is this program."""
    folder.mkdir()
    (folder / "part.toml").write_text(PART)
    (folder / "server.py").write_text(dedent(program))
    return System(folder.name, Variation(part.number, folder, "broken", part))


def compared(*systems: System) -> Comparison:
    with Console(io.StringIO(), io.StringIO()).progress() as progress:
        return compare(systems, progress)


def test_a_broken_system_is_reported_and_the_others_are_compared(tmp_path: Path, part_4: Lesson) -> None:
    found = compared(broken(tmp_path / "dead", part_4, DEAD), broken(tmp_path / "mute", part_4, MUTE))
    assert [one.name for one in found.not_started] == ["dead"]
    assert "no wish to start" in found.not_started[0].why
    (column,) = found.columns
    shown = {row: (cell.value, cell.seen) for row, cell in column.cells.items()}
    assert shown["pkce"][0] == shown["audience"][0] == shown["findings"][0] == "not observed"
    assert shown["answered"][0] == "no"
    assert shown["cleanup"][0] == "complete"
    assert all(sentence for _, sentence in shown.values())
