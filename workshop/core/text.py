"""Texts as people and models are shown them: foreign ones made safe to print, numbers, docstrings; answers.

In the name, message or result of a server, client or tool, a control character can drive a terminal, and a
line break can forge a line of ours. A character without a shape, or one that turns the direction of writing,
makes two different names look alike.
"""

import ast
import functools
import inspect
import unicodedata
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

# The marks, embeddings, overrides and isolates of Unicode Standard Annex 9.
_BIDI = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Control characters, halves of a surrogate pair (no UTF-8 stream takes them), ends of lines and paragraphs.
_NEVER = ("Cc", "Cs", "Zl", "Zp")
DNS_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"  # in lower case, as Kubernetes has it (RFC 1123)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def plain(text: str) -> str:
    """A foreign text of several lines: control and bidirectional characters are shown as escapes."""
    return "".join(char if char in "\n\t" or _is_plain(char) else f"\\x{ord(char):02x}" for char in text)


def one_line(text: str, most: int = 100) -> str:
    """A foreign name, message or result on one line: white space folded, cut to `most`, and `unbroken`."""
    # cut before folding: a tool may return megabytes
    flat = unbroken(" ".join(text[: 4 * most].split()))
    return flat if len(flat) <= most and len(text) <= 4 * most else f"{flat[:most]}…"


def unbroken(line: str) -> str:
    """A line that has foreign text in it: whatever would break it or cannot be seen is shown as an escape."""
    return "".join(
        char if _is_plain(char) and unicodedata.category(char) != "Cf" else f"\\x{ord(char):02x}"
        for char in line
    )


def shortened(text: str, most: int) -> str:
    """The text cut to `most` characters in its middle: a chain of errors names its cause last."""
    start = most // 3
    return text if len(text) <= most else f"{text[:start]}…{text[start + 1 - most :]}"


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural unless it is 1."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def rough_time(minutes: int) -> str:
    """A duration in the largest unit of which it has more than one, or in minutes: `60 min`, `2 h`, `3 d`."""
    unit, size = next(
        (unit, size) for unit, size in (("d", 1440), ("h", 60), ("min", 1)) if minutes > size or size == 1
    )
    return f"{minutes // size} {unit}"


def moment(text: str) -> datetime | None:
    """A moment in RFC 3339; None for another text, also for one without a zone: its age would be a guess."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None


def yes_or_no(answer: str) -> bool | None:
    """Whether a typed answer is a yes; an empty one is a no, and None is any other."""
    return {"y": True, "yes": True, "n": False, "no": False, "": False}.get(answer.strip().lower())


def _is_plain(char: str) -> bool:
    return unicodedata.category(char) not in _NEVER and char not in _BIDI


def docstring(function: Callable[..., Any]) -> str:
    """The docstring of a function, without its indentation; "" if there is none.

    With `PYTHONOPTIMIZE=2` Python drops docstrings, so it is then read from the source.
    """
    return inspect.getdoc(function) or _from_source(inspect.unwrap(function))


def _from_source(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    return _docstrings(code.co_filename).get(code.co_firstlineno, "") if code else ""


@functools.cache
def _docstrings(file: str) -> dict[int, str]:
    """The docstring of each function of a file, by the line of its first decorator or its `def`."""
    try:
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):  # an interactive session, or a file that is gone
        return {}
    found = [node for node in ast.walk(tree) if isinstance(node, _DEFINITIONS)]
    return {
        min(line.lineno for line in (node, *node.decorator_list)): ast.get_docstring(node) or ""
        for node in found
    }
