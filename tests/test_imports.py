"""Imports point one way, and what is heavy is not imported before it is needed."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import workshop

PACKAGE = Path(workshop.__file__).parent
BASE = {"errors", "result", "console", "settings", "paths", "ports", "instance", "serving", "gathering"}
BASE |= {"sources", "source_values", "interrupts", "browser"}
MAY_IMPORT = {
    "cli": BASE | {"cli", "lessons", "agent", "probe", "tools", "trace", "doctor", "demo", "compare"},
    "compare": BASE | {"compare", "lessons", "agent", "backends", "probe", "practice"},
    "demo": BASE | {"demo"},
    "doctor": BASE | {"doctor", "tools"},
    "lessons": BASE | {"lessons", "agent", "backends", "toolhive", "practice", "tools", "trace", "bundle"},
    "backends": BASE | {"backends", "toolhive", "tools", "kube", "bundle", "forward"},
    "bundle": BASE | {"bundle", "tools"},
    "tools": BASE | {"tools", "toolhive"},
    "agent": BASE | {"agent", "trace"},
    "trace": {"trace", "errors", "paths"},
    "toolhive": BASE | {"toolhive", "kube"},
    "kube": BASE | {"kube"},
    "forward": {"forward", "errors", "paths", "ports", "tools"},
    "probe": {"probe", "errors", "paths", "interrupts"},
    "gateway": {"gateway", "errors", "paths", "ports", "serving", "gathering"},
    "practice": {"practice", "errors", "paths", "ports", "serving"},
    "identity": {"identity", "gateway", "practice", "errors", "paths", "ports", "serving"},
    "variation": {"variation", "gateway", "practice", "errors", "paths", "ports", "serving"},
}
HEAVY = ("mcp", "kubernetes", "aiohttp", "httpx2", "starlette", "uvicorn", "pydantic", "psutil", "yaml")


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if "parts" not in path.relative_to(PACKAGE).parts:
            yield path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize(
    ("layer", "path"), list(modules()), ids=lambda value: str(value).split("workshop/")[-1]
)
def test_a_module_imports_its_own_layer_and_those_below(layer: str, path: Path) -> None:
    allowed = MAY_IMPORT.get(layer, BASE | {"cli"})
    for name in imported(path):
        package, _, rest = name.partition(".")
        if package == "workshop" and rest:
            assert rest.split(".")[0] in allowed, f"{path} imports {name}"


def test_the_gateway_does_not_import_the_mcp_sdk() -> None:
    for path in (PACKAGE / "gateway").rglob("*.py"):
        assert not [name for name in imported(path) if name.split(".")[0] in {"mcp", "mcp_types"}], path


def test_only_the_console_prints() -> None:
    for layer, path in modules():
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        printing = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
        assert not printing, f"{layer}: {path} prints"


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from workshop.cli.main import main; main(['--help']);"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
