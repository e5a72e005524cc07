"""What the code of a file imports; each file is read once in a process."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


@cache
def imports(path: Path) -> tuple[str, ...]:
    """The modules that a file imports, also in functions; of `from a import b`, both `a` and `a.b`."""
    return tuple(_names(ast.parse(path.read_text("utf-8"))))


def _names(tree: ast.AST) -> Iterator[str]:
    """The names, without a look at expressions, which are most of a tree and cannot import."""
    left = [tree]
    while left:
        node = left.pop()
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        for block in _BLOCKS:
            inner = getattr(node, block, ())
            left.extend(inner if isinstance(inner, list) else ())
