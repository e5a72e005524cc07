"""Docstrings that are shown are there with `PYTHONOPTIMIZE=2` too, which drops them."""

import os
import subprocess
import sys

import pytest

from workshop.core.docstrings import docstring

HELP = """
import contextlib
from workshop.cli.app import build_tree
from workshop.agent import PythonTools
from workshop.core.docstrings import docstring

def show(command, path):
    print("##", *path)
    with contextlib.suppress(BaseException):
        command([*path, "--help"][len(path):], prog_name=" ".join(path), standalone_mode=False)
    for name, inner in getattr(command, "commands", {}).items():
        show(inner, [*path, name])

show(build_tree(), ["workshop"])
"""


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
        "from workshop.core.docstrings import docstring\n"
        "assert find_lessons.__doc__ is None\n"
        "print(docstring(find_lessons))\n"
        "print(repr(docstring(lambda: None)), repr(docstring(eval('lambda: None'))))\n"
    )
    done = subprocess.run([sys.executable, "-OO", "-c", program], capture_output=True, text=True, check=True)
    from workshop.course.lessons import find_lessons

    assert done.stdout == f"{find_lessons.__doc__}\n'' ''\n"
