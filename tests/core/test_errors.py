"""Why something failed is worded in one place, without Python's own decoration."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

import workshop
from workshop.core.errors import reason

PACKAGE = Path(workshop.__file__).parent
# It makes another error of the same kind; it shows nothing.
COPIES = ["core/paths.py"]
OF_THE_SYSTEM = {"OSError", "FileNotFoundError", "PermissionError"}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(2, "No such file or directory", "/a/file"), "No such file or directory"),
        (OSError("no such device"), "no such device"),
        (OSError(), "OSError"),
        (TimeoutError(), "TimeoutError"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "'utf-8' codec can't decode byte"),
        (ValueError("embedded null byte"), "embedded null byte"),
    ],
)
def test_the_reason_has_no_number_and_no_path(error: Exception, words: str) -> None:
    assert reason(error).startswith(words)
    assert "/a/file" not in reason(error)


def test_no_other_module_words_an_error_of_the_system() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name, text = path.relative_to(PACKAGE).as_posix(), path.read_text("utf-8")
        if "OSError" in text and name not in {"core/errors.py", *COPIES}:
            found += [f"{name}:{line}" for line in worded_at(ast.parse(text))]
    assert found == []


def worded_at(tree: ast.Module) -> Iterator[int]:
    """Where the text of a caught error of the system is made by hand: `.strerror`, `str()`, `{error}`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "strerror":
            yield node.lineno
        elif isinstance(node, ast.ExceptHandler) and node.type and named(node.type) & OF_THE_SYSTEM:
            yield from (inner.lineno for inner in ast.walk(node) if is_text_of(inner, node.name or ""))


def named(kinds: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(kinds) if isinstance(node, ast.Name)}


def is_text_of(node: ast.AST, error: str) -> TypeGuard[ast.expr]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "str":
        return [ast.unparse(each) for each in node.args] == [error]
    return isinstance(node, ast.FormattedValue) and ast.unparse(node.value) == error
