"""Docstrings that are shown to people or models: help texts, descriptions of tools, sentences of checks."""

import ast
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


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
