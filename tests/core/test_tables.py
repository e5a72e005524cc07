"""A table on a terminal of any width: whole words, whole addresses, and lines that fit."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from workshop.core.result import Table
from workshop.core.tables import laid_out

URL = "http://localhost:22690/mcp"
TABLES = {
    "status": Table(
        ("workload", "state", "address", "pid", "what it is"),
        [
            ("github-remote", "running", URL, "6802", ""),
            ("practice-github", "not visible", "http://localhost:30479", "", "the practice GitHub"),
        ],
    ),
    "next": Table(
        ("part", "title", "read", "run", "checked", "exercises"),
        [
            ("1", "The agent loop", "", "✓", "", "open, open"),
            ("4", "GitHub's server behind OAuth", "✓", "", "", "open, open, open, open, open"),
        ],
    ),
    "doctor": Table(
        ("", "check", "found", "remedy"),
        [
            ("✓", "terminal", "60 columns wide", "80 or more read better"),
            ("!", "docker-warning", "The engine uses cgroup v1", "`workshop up --backend embedded` does"),
        ],
    ),
    "variations": Table(
        ("variation", "what it is", "running at"),
        [
            ("resource-server", "Plain functions as tools; a server that verifies tokens", ""),
            ("prefix-gateway", "One gateway in front of two MCP servers", f"{URL} (1 of 2)"),
        ],
    ),
    "probe": Table(
        ("severity", "id", "requirement", "observed"),
        [("high", "audience-of-a-token", "It refuses a token for another server", f"200 OK from {URL}")],
        "What was found",
    ),
    "compare": Table(
        ("", "toolhive", "prefix-gateway"),
        [("who may register", "anyone, 5 at once", "nobody"), ("scopes", "openid profile email", "")],
    ),
    "room status": Table(
        ("Seat", "Person", "Part", "Checks", "Last sign", "Pods", "Wrong"),
        [
            ("01", "Ada Lovelace", "4", "11", "2 minutes ago", "3 of 3", ""),
            ("02", "", "", "", "", "0 of 0", "✗"),
        ],
    ),
}


def drawn(table: Table, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(laid_out(table, width, Text), soft_wrap=True)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]  # StringIO


@pytest.mark.parametrize("width", [30, 40, 50, 60, 80, 100, 200])
@pytest.mark.parametrize("name", TABLES)
def test_no_word_is_broken_and_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    lines = drawn(TABLES[name], width)
    words = {word.strip(":") for line in lines for word in line.split()}
    for row in TABLES[name].rows:
        assert {word for cell in row for word in cell.split()} <= words
    # What has no space in it, such as an address, is not broken either: the terminal wraps it.
    assert [line for line in lines if len(line) > width and " " in line.strip().partition(": ")[2]] == []
    longest = max(len(word) for word in words)
    assert max(map(len, lines)) <= max(width, longest + len("  address: "))


@pytest.mark.parametrize("name", TABLES)
def test_a_wide_terminal_has_a_row_in_a_line(name: str) -> None:
    table = TABLES[name]
    lines = drawn(table, 200)
    assert len(lines) == bool(table.title) + 1 + len(table.rows)
    assert lines[bool(table.title)].split() == " ".join(table.columns).split()


def test_two_spaces_between_columns_are_tried_before_a_list() -> None:
    table = TABLES["compare"]
    fits = len("register") + len("toolhive") + len("prefix-gateway") + 2 * 2
    assert drawn(table, fits)[0].split() == ["toolhive", "prefix-gateway"]
    assert drawn(table, fits - 1)[0] == "who may register"


def test_where_the_words_do_not_fit_each_row_is_a_list_without_what_is_empty() -> None:
    assert drawn(TABLES["status"], 40) == [
        "workload: github-remote",
        "  state: running",
        "  address: http://localhost:22690/mcp",
        "  pid: 6802",
        "workload: practice-github",
        "  state: not visible",
        "  address: http://localhost:30479",
        "  what it is: the practice GitHub",
    ]
    assert drawn(TABLES["doctor"], 30)[4:] == [
        "! check: docker-warning",
        "  found: The engine uses",
        "    cgroup v1",
        "  remedy: `workshop up",
        "    --backend embedded` does",
    ]


def test_a_mark_stands_before_what_it_marks() -> None:
    assert drawn(TABLES["doctor"], 30)[0] == "✓ check: terminal"
