"""Texts on a real terminal: readable lines, whole diagrams, a pager, and hyperlinks."""

import re
import shlex
import sys
from itertools import product
from pathlib import Path

import pexpect
import pyte
import pytest

from tests.cli.conftest import Workshop
from tests.environment import IsolatedInstance

PARTS = Path(__file__).resolve().parents[2] / "parts"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\]8;.*?\x1b\\")
DIAGRAM = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)
HEADINGS = ("workload ", "part ", "resource ", "variation ", "severity ")
VARIATIONS = [path.parent.name for path in PARTS.glob("04_*/variations/*/part.toml")]


def shown(child: "pexpect.spawn[str]") -> str:
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    return str(child.before)


def lines(written: str) -> list[str]:
    return [line.rstrip() for line in ESCAPES.sub("", written).replace("\r\n", "\n").splitlines()]


@pytest.mark.parametrize("columns", [80, 200])
def test_text_is_as_wide_as_the_terminal_and_never_wider_than_100_columns(
    instance: IsolatedInstance, columns: int
) -> None:
    part = lines(shown(instance.spawn("part", "4", "show", size=(60, columns))))
    prose = [line for line in part if line and not re.search(r"[─│▶\"'\\/]", line)]
    longest = max(map(len, prose))
    assert min(columns, 100) - 12 < longest <= min(columns, 100)
    up = lines(shown(instance.spawn("up", "--help", size=(60, columns))))
    assert min(columns, 100) - 12 < max(map(len, up)) <= min(columns, 100)


@pytest.mark.parametrize("lesson", ["1", "2", "3", "4", *VARIATIONS])
def test_a_diagram_is_whole_at_60_columns(instance: IsolatedInstance, lesson: str) -> None:
    words = [lesson, "show"] if lesson.isdigit() else ["4", "show", "--variation", lesson]
    folder = next(PARTS.glob(f"0{lesson}_*" if lesson.isdigit() else f"04_*/variations/{lesson}"))
    (diagram, *_) = DIAGRAM.findall((folder / "README.md").read_text("utf-8"))
    screen = pyte.Screen(60, 2000)  # a longer line would go on in the next one
    pyte.Stream(screen).feed(shown(instance.spawn("part", *words, size=(100, 60))))
    assert diagram.rstrip() in "\n".join(line.rstrip() for line in screen.display)


def test_a_lesson_goes_through_the_pager_of_the_person(instance: IsolatedInstance, tmp_path: Path) -> None:
    file = tmp_path / "paged.txt"
    pager = shlex.join(
        [sys.executable, "-c", f"import sys; open({str(file)!r}, 'w').write(sys.stdin.read())"]
    )
    written = shown(instance.spawn("part", "1", "show", PAGER=pager))
    assert "# Part 1" not in file.read_text("utf-8")
    assert "Part 1: the agent loop" in file.read_text("utf-8")
    assert "Part 1: the agent loop" not in written
    assert "Next: `workshop" in written


def test_a_pager_that_is_left_early_or_interrupted_ends_nothing(instance: IsolatedInstance) -> None:
    assert "Next: `workshop" in shown(instance.spawn("part", "4", "show", PAGER="true"))
    child = instance.spawn(
        "part", "4", "show", PAGER="sh -c 'trap \"\" INT; echo paged; read -r _ </dev/tty'"
    )
    child.expect("paged")
    child.sendintr()
    child.send("\r")
    assert "Next: `workshop" in shown(child)


def test_a_text_that_fits_the_screen_needs_no_pager(instance: IsolatedInstance) -> None:
    assert "Exercise 1.1" in shown(instance.spawn("part", "1", "exercise", "1", PAGER="false"))


def test_files_are_hyperlinks_where_the_terminal_takes_them(
    instance: IsolatedInstance, workshop: Workshop
) -> None:
    def listed(forced: str) -> str:
        return shown(instance.spawn("part", "1", "exercise", FORCE_HYPERLINK=forced))

    for forced in ("1", "0"):
        assert listed(forced).count("\x1b]8;id") == 0, "nothing is begun"
    workshop("part", "1", "exercise", "1")
    file = instance.folder / "workshop-exercises/part1/1_a_tool_with_a_schema.py"
    for forced, count in (("1", 1), ("0", 0)):
        assert len(re.findall(rf"\x1b\]8;[^;]*;{re.escape(file.as_uri())}\x1b", listed(forced))) == count


def test_a_wait_shows_its_bound_and_how_to_stop_it(running: IsolatedInstance) -> None:
    child = running.spawn("part", "4", "run", "--no-browser", "--model", "rehearsal")
    child.expect(r"wait for the sign-in.{0,20} \(\d+ s, at most 300 s; Ctrl-C stops it\)")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130


@pytest.mark.parametrize("columns", [60, 80])
def test_a_result_stays_on_the_line_of_its_call(running: IsolatedInstance, columns: int) -> None:
    words = ("part", "3", "run", "--model", "rehearsal")
    screen = pyte.Screen(columns, 200)
    pyte.Stream(screen).feed(shown(running.spawn(*words, size=(50, columns))))
    steps = [line.rstrip() for line in screen.display if line.startswith("✓ ")]
    calls = [line for line in steps if line.startswith("✓ Call ")]
    assert len(calls) > 1
    for line in steps:
        assert re.search(r"\(\d+\.\d s\)$", line), line
    assert all("… (" in line for line in calls), "what does not fit is cut"


def test_no_address_is_broken_in_a_table(running: IsolatedInstance) -> None:
    assert running.run("part", "4", "run", "--approve-as", "learner").returncode == 0
    url = f"http://localhost:{running.ports['github-remote']}/mcp"
    for words, columns in product((["status"], ["login", "list"]), (70, 100)):
        written = lines(shown(running.spawn(*words, size=(50, columns))))
        assert any(line.split("   ")[0] == url or f"   {url} " in line for line in written), written
        table = written[
            next(n for n, line in enumerate(written) if line.startswith(("workload", "resource"))) :
        ]
        assert max(map(len, table)) <= columns
        assert any(re.search(r"in (5\d|60) min", line) for line in written), "times are relative"


@pytest.mark.parametrize("columns", [40, 50, 60])
@pytest.mark.parametrize(
    "words",
    [["status"], ["next"], ["login", "list"], ["part", "4", "variations"], ["probe", "URL", "--all"]],
    ids=" ".join,
)
def test_a_narrow_terminal_breaks_no_word_and_no_address(
    running: IsolatedInstance, words: list[str], columns: int
) -> None:
    url = f"http://localhost:{running.ports['github-remote']}/mcp"
    assert running.run("part", "4", "run", "--approve-as", "learner").returncode == 0
    words = [url if word == "URL" else word for word in words]
    child = running.spawn(*words, size=(50, columns))
    child.expect(pexpect.EOF)
    child.close()
    screen = pyte.Screen(columns, 2000)
    pyte.Stream(screen).feed(str(child.before))
    there = {word.strip(":") for line in screen.display for word in line.split()}
    piped = running.run(*words).stdout.splitlines()
    # A list leaves out the headings of what is empty.
    expected = {word for line in piped if not line.startswith(HEADINGS) for word in line.split()}
    # What has a digit may be a time, which goes on; what is longer than a line is left to the terminal.
    missing = {
        word
        for word in expected
        if word.strip(":") not in there and not re.search(r"\d", word) and len(word) <= columns - 4
    }
    assert missing == set()
    if words[0] in ("status", "login"):
        assert any(url in line for line in screen.display)


def test_a_long_line_goes_on_below_its_first_word(running: IsolatedInstance) -> None:
    child = running.spawn("part", "3", "apply", size=(50, 60))
    child.expect(pexpect.EOF)
    child.close()
    error = [line for line in lines(str(child.before)) if line]
    assert len(error) > 3
    assert all(line.startswith(("Error: ", "  ")) for line in error), error
