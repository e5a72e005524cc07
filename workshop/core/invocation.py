"""Commands in texts as they have to be typed here: every hint and every line of a lesson can be pasted."""

import contextlib
import functools
import itertools
import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from workshop.core.paths import current_dir, parts_dir

INSTANCE = "WORKSHOP_INSTANCE"
"""The environment variable with the instance's name; `--instance` sets it for one command."""
BACKEND_VARIABLE = "WORKSHOP_BACKEND"
PORT_VARIABLE = "WORKSHOP_PORT"
UV_RUN = "UV_RUN_RECURSION_DEPTH"
"""`uv run` sets this variable for the program that it starts; it stays set in that program's children."""
_COMMAND = re.compile(r"(?<=`)workshop(?= [a-z-])")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_COMMAND_LINE = re.compile(r"^workshop(?= )", re.MULTILINE)
_PYTHON_LINE = re.compile(r"(?:^|(?<=\| ))python(?= [-\w/'])", re.MULTILINE)
_PYTHON = re.compile(r"(?<=`)python(?= [-\w/'])")
_PACKAGE = Path(__file__).resolve().parents[1]
_words: list[str] = []
_instance: list[str] = []
_PART_PROGRAM = re.compile(r"(?<=`)python (parts/\d\d_[\w./-]*)")
# After a space it is a word of a command; after a quote or a backtick it is a name, as in a line of Python.
_PARTS = re.compile(r"(?P<word>(?<= ))?(?<![\w/.-])(?P<path>parts/\d\d_(?:[\w./-]*\w)?)")


def under_uv_run() -> bool:
    """Whether `uv run` started this process, so that a shell may not find `workshop` by itself."""
    return UV_RUN in os.environ


def runnable(text: str) -> str:
    """The text with its commands, such as `workshop up` or `python parts/…`, as they are typed here."""
    text = _PART_PROGRAM.sub(lambda found: f"{_python()} {shlex.quote(_below(found[1], _parts()))}", text)
    return _COMMAND.sub(lambda _: command(), text)


def command() -> str:
    """What a person types for `workshop` in this shell, with `--instance` if it was given."""
    return " ".join([_program(), *(f"--instance {name}" for name in _instance)])


@functools.cache
def _program() -> str:
    """What a person types for `workshop`: a shell need not find it by that name."""
    if under_uv_run():
        return "uv run workshop"
    if _is_this(shutil.which("workshop")):
        return "workshop"
    called = Path(sys.argv[0])
    if called.name == "__main__.py" and called.parent == _PACKAGE:  # `python -m workshop`
        # `sys.argv[0]` is the module's file by now; only `orig_argv` still has the Python that was typed.
        return f"{shlex.quote(sys.orig_argv[0])} -m workshop"
    if _is_this(sys.argv[0]):
        return shlex.quote(sys.argv[0])
    beside = Path(sys.executable).with_name("workshop")
    return shlex.quote(str(beside)) if beside.is_file() else "workshop"


def _is_this(program: str | None) -> bool:
    """Whether this path is a `workshop` script of the environment that runs us."""
    if not program or Path(program).stem != "workshop":
        return False
    with contextlib.suppress(OSError):
        found, here = Path(program).resolve(), Path(sys.executable).parent.resolve()
        return found.parent == here or (Path(sys.argv[0]).exists() and found.samefile(sys.argv[0]))
    return False


def remember(words: Sequence[str], instance: str = "") -> None:
    """Set the words after `workshop` that `again` repeats, and the instance that each command names."""
    _words[:] = words
    _instance[:] = [shlex.quote(instance)] if instance else []


def again(*more: str, without: str = "") -> str:
    """The command that was typed, with these words added, or without one of its own, in backticks."""
    return f"`{shlex.join(['workshop', *(word for word in _words if word != without), *more])}`"


def given_as(option: str, variable: str, value: str) -> str:
    """How a person gave a value: `--option value`, or `VARIABLE=value` if the option was not typed."""
    # `--instance` is taken out of the words, wherever it was.
    typed = (
        bool(_instance)
        if variable == INSTANCE
        else any(
            word == option or word.startswith(f"{option}=")
            for word in itertools.takewhile("--".__ne__, _words)
        )
    )
    return f"{option} {value}" if typed or variable not in os.environ else f"{variable}={value}"


def runnable_line(line: str) -> str:
    """One command line that begins with `workshop`, as it has to be typed here."""
    return command() + line.removeprefix("workshop")


def runnable_markdown(markdown: str) -> str:
    """A lesson whose `workshop …` and `python …` lines, and whose paths below `parts/`, work here."""
    parts, python = _parts(), _python()

    def placed(found: re.Match[str]) -> str:
        path = _below(found["path"], parts)
        return path if found["word"] is None else shlex.quote(path)

    # The paths first: what is put in for `python` may have such a path itself.
    text = _PYTHON.sub(lambda _: python, _PARTS.sub(placed, markdown))

    def fenced(block: re.Match[str]) -> str:
        lines = _PYTHON_LINE.sub(lambda _: python, block[0])
        return _COMMAND_LINE.sub(lambda _: command(), lines)

    return runnable(_FENCE.sub(fenced, text))


def _below(path: str, parts: str) -> str:
    return parts + path.removeprefix("parts/")


def _parts() -> str:
    """The folder of the parts with a final slash: relative if it is below the current folder."""
    folder, here = parts_dir(), current_dir()
    shown = folder.relative_to(here) if here and folder.is_relative_to(here) else folder
    return f"{shown.as_posix()}/"


def _python() -> str:
    """The command for this interpreter, on the same instance."""
    return " ".join([*(f"{INSTANCE}={name}" for name in _instance), _interpreter()])


@functools.cache
def _interpreter() -> str:
    """The command for this interpreter: `python` only if a shell finds the same one."""
    if under_uv_run():
        return "uv run python"
    found = shutil.which("python")
    same = found is not None and Path(found).parent == Path(sys.executable).parent
    return "python" if same else shlex.quote(sys.executable)
