"""The lessons: short, their outputs as the commands print them now, and every command of theirs is run."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.environment import IsolatedInstance, started_instance
from tests.parts.outputs import BLOCK, LESSONS, ROOT, drawn
from tests.tiers import exists

MOST_LINES = 196
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)]+)\)")
NAMED = [lesson.parent.name for lesson in LESSONS]
PAGES = [*LESSONS, *sorted((ROOT / "parts").glob("*/*.md"))]
# Not run here: a second `up` without the ports of this test would move everything.
UP = "workshop up"
RUN_BY = "tests/e2e/test_lifecycle.py::test_up_and_status_report_every_workload_and_teardown_ends_them_all"


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedInstance]:
    """An instance for whole lessons, which also write exercises and progress."""
    with started_instance(tmp_path_factory.mktemp("lessons")) as made:
        yield made


def typed(lesson: Path) -> list[str]:
    """The lines of the shell blocks that begin with our command, or run a lesson's program."""
    lines = "\n".join(SHELL.findall(lesson.read_text(encoding="utf-8"))).splitlines()
    return [line for line in lines if re.match(r"workshop |python parts/\S+/main\.py$", line)]


@pytest.mark.parametrize("lesson", LESSONS, ids=NAMED)
def test_a_lesson_is_short_and_shows_an_output(lesson: Path) -> None:
    text = lesson.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert BLOCK.search(text)
    assert text.count("```text\n") == len(BLOCK.findall(text)), "an output begins with its command"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_a_page_that_a_lesson_links_is_beside_it(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).is_file()] == []


def test_part_1_shows_what_it_prints_now(running: IsolatedInstance) -> None:
    assert drawn(LESSONS[0], running) == LESSONS[0].read_text(encoding="utf-8")


@pytest.mark.parametrize("lesson", LESSONS[1:], ids=NAMED[1:])
def test_a_later_part_shows_what_it_prints_now(lesson: Path, learner: IsolatedInstance) -> None:
    now = drawn(lesson, learner)
    assert now == lesson.read_text("utf-8"), "Draw it again: `uv run python -m tests.parts.outputs`"


@pytest.mark.parametrize("lesson", LESSONS, ids=NAMED)
def test_every_command_of_a_lesson_works(lesson: Path, learner: IsolatedInstance) -> None:
    commands = [line for line in typed(lesson) if line != UP]
    assert commands
    for line in commands:
        ended = run(line, learner)
        assert ended.returncode == (6 if re.search(r"check \d$", line) else 0), f"{line}\n{ended.stderr}"


def run(line: str, instance: IsolatedInstance) -> "subprocess.CompletedProcess[str]":
    """One line of a lesson, typed into an instance that is up, with nobody at a browser."""
    asks = "--approve-as" not in line and re.search(r"part 4 run|04_\S+main\.py", line)
    program, *words = shlex.split(line)
    script = ["-m", "workshop"] if program == "workshop" else [str(ROOT / words.pop(0))]
    approving = ["--approve-as", "learner"] if asks else []
    return instance.run_python(*script, *words, *approving, timeout=120)


def test_up_is_run_elsewhere() -> None:
    assert exists(RUN_BY)
    assert any(UP in typed(lesson) for lesson in LESSONS)
