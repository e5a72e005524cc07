"""What the code imports is declared, and what is declared is used.

A package that only another one brings would go missing as soon as that one does without it.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

from tests.source import imports

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
RUN = PROJECT["project"]["dependencies"]
DEV = PROJECT["dependency-groups"]["dev"]
BENCHMARK = {"fastmcp", "key_value"}  # in the group `benchmark`, and not installed by default


def names(requirements: Iterable[str]) -> set[str]:
    """The distributions of requirements, as the package index spells them."""
    found = (re.match(r"[A-Za-z0-9._-]+", requirement) for requirement in requirements)
    return {normal(match[0]) for match in found if match}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def imported(folder: str) -> set[str]:
    """The distributions that the code in a folder imports anywhere, at its top or in a function."""
    files = list((ROOT / folder).rglob("*.py"))
    beside = {path.stem for path in files} | {path.name for path in (ROOT / folder).rglob("*/")}
    own = {"workshop", "tests", *sys.stdlib_module_names, *(beside if folder == "parts" else ())}
    modules = {name.split(".")[0] for path in files for name in imports(path)} - own - BENCHMARK
    distributions = metadata.packages_distributions()
    return {normal(distributions.get(name, [name])[0]) for name in modules}


def is_tool(name: str) -> bool:
    """Whether a distribution is used without an import: a plugin of pytest, a command, or types for mypy."""
    kinds = {entry.group for entry in metadata.distribution(name).entry_points}
    return name.startswith("types-") or bool(kinds & {"pytest11", "console_scripts"}) or name == "ruff"


def test_what_runs_imports_exactly_what_is_declared() -> None:
    assert imported("workshop") | imported("parts") == names(RUN)


def test_what_the_tests_import_is_declared() -> None:
    declared = names(RUN) | names(DEV)
    assert imported("tests") - declared == set()


def test_what_is_declared_for_development_is_used() -> None:
    unused = names(DEV) - imported("tests")
    assert {name for name in unused if not is_tool(name)} == set()


def test_nothing_is_declared_twice() -> None:
    assert names(RUN) & names(DEV) == set()


def test_every_runtime_dependency_has_its_reason() -> None:
    lines = (ROOT / "pyproject.toml").read_text("utf-8").splitlines()
    start = lines.index("dependencies = [") + 1
    declared = lines[start : lines.index("]", start)]
    assert len(declared) == len(RUN)
    assert [line for line in declared if "# " not in line] == []
