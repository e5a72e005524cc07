"""Texts from elsewhere drive no terminal and hide nothing; docstrings outlive `PYTHONOPTIMIZE=2`."""

import os
import subprocess
import sys
import unicodedata

import pytest

from workshop.core.text import docstring, one_line, plain, unbroken

HELP = """
import contextlib
from workshop.cli.app import build_tree
from workshop.agent import PythonTools
from workshop.core.text import docstring

def show(command, path):
    print("##", *path)
    with contextlib.suppress(BaseException):
        command([*path, "--help"][len(path):], prog_name=" ".join(path), standalone_mode=False)
    for name, inner in getattr(command, "commands", {}).items():
        show(inner, [*path, name])

show(build_tree(), ["workshop"])
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain\n\tkept", "plain\n\tkept"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b0m", "\\x9b0m"),
        ("a\rb\x07", "a\\x0db\\x07"),
        ("abc\u202edef", "abc\\x202edef"),
        ("naïve ✓ 猫", "naïve ✓ 猫"),
        ("half \ud83d a pair", "half \\xd83d a pair"),
        ("a\u2028b\u2029c", "a\\x2028b\\x2029c"),
    ],
)
def test_untrusted_text_cannot_drive_the_terminal(text: str, expected: str) -> None:
    assert plain(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\n b\tc", "a b c"),
        ("read\r\nWarning: forged", "read Warning: forged"),
        ("pay\u200bpal", "pay\\x200bpal"),
        ("\u2066gnp.exe\u2069", "\\x2066gnp.exe\\x2069"),
        ("soft\u00adhyphen", "soft\\xadhyphen"),
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("half \udc80 a pair", "half \\xdc80 a pair"),
        ("tag\U000e0041", "tag\\xe0041"),
        ("naïve ✓ 猫 👩", "naïve ✓ 猫 👩"),
    ],
)
def test_a_foreign_name_is_shown_on_one_line_with_what_cannot_be_seen(text: str, expected: str) -> None:
    assert one_line(text) == expected


def test_a_long_result_is_cut_to_one_line_for_display() -> None:
    assert one_line("a\n b\tc") == "a b c"
    assert one_line("x" * 1_000_000, 10) == "x" * 10 + "…"
    assert one_line("x" * 10, 10) == "x" * 10
    assert len(one_line("\x07" * 10, 10)) == 11


def test_no_character_breaks_a_line_or_has_no_shape() -> None:
    every = "".join(map(chr, range(0x110000)))
    shown = unbroken(every)
    assert len(shown.splitlines()) == 1
    assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    shown.encode()


def test_the_spaces_of_a_line_stay() -> None:
    assert unbroken("   1   a  →  b") == "   1   a  →  b"


def help_of_every_command(level: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", HELP],
        env={**os.environ, "PYTHONOPTIMIZE": level, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_optimised_python_loses_no_help() -> None:
    whole = help_of_every_command("")
    assert whole.count("Usage:") > 40
    assert whole.count("##") == whole.count("Usage:")
    assert help_of_every_command("2") == whole


def documented() -> None:
    """The first line.

    And more.
    """


@pytest.mark.parametrize(
    ("function", "expected"), [(documented, "The first line.\n\nAnd more."), (len, len.__doc__)]
)
def test_a_docstring_has_no_indentation(function: object, expected: str) -> None:
    assert docstring(function) == expected  # type: ignore[arg-type]


def test_it_is_read_from_the_source_when_python_dropped_it() -> None:
    program = (
        "from workshop.course.lessons import find_lessons\n"
        "from workshop.core.text import docstring\n"
        "assert find_lessons.__doc__ is None\n"
        "print(docstring(find_lessons))\n"
        "print(repr(docstring(lambda: None)), repr(docstring(eval('lambda: None'))))\n"
    )
    done = subprocess.run([sys.executable, "-OO", "-c", program], capture_output=True, text=True, check=True)
    from workshop.course.lessons import find_lessons

    assert done.stdout == f"{find_lessons.__doc__}\n'' ''\n"
