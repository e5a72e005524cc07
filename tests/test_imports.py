"""Imports point one way, and what is heavy is not imported before it is needed."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import pytest

import workshop
from tests.source import imports

PACKAGE = Path(workshop.__file__).parent
# Each package, and the packages it may import. A dotted name is a module below one, and only that.
MAY_IMPORT = {
    "core": set[str](),
    "recorder": {"core"},
    "toolhive": {"core"},
    "auth": {"core"},
    "servers": {"auth", "core"},
    "agent": {"recorder", "core"},
    "lab": {"toolhive", "core"},
    # The page of `workshop open` is guarded against other web pages like every server of ours.
    "course": {"lab", "agent", "recorder", "toolhive", "core", "servers.practice.client", "auth.guards"},
    "audit": {"course", "lab", "agent", "recorder", "core", "servers.practice.client"},
    "cli": {"audit", "course", "lab", "agent", "recorder", "core"},
    "__main__": {"cli", "core.collector"},
    "__init__": set[str](),
}
# Manifests and the programs for clusters are a third of a start; only what starts something needs them.
OWN = ("workshop.lab.tools", "workshop.toolhive.manifests")
HEAVY = ("mcp", "kubernetes", "aiohttp", "httpx2", "starlette", "uvicorn", "pydantic", "psutil", "yaml", *OWN)
NEVER_MCP: dict[str, tuple[int, set[str]]] = {  # command: its exit code with nothing up, what it may load
    "--help": (0, set()),
    "status": (0, set()),
    "next": (0, set()),
    "logs": (3, set()),
    "doctor": (0, {"psutil", *OWN}),  # only for a port that is taken
    "up --dry-run": (0, {"pydantic", "yaml", *OWN}),
    "teardown": (0, {"psutil", *OWN}),
    "part 1 run --model rehearsal": (0, {"pydantic", "psutil", "yaml", *OWN}),
}


def modules() -> Iterator[tuple[str, Path]]:
    """Each module with its package; the lessons and the cluster's files of a wheel are not modules."""
    for path in sorted(PACKAGE.rglob("*.py")):
        package = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if package not in {"parts", "cluster"}:
            yield package, path


def test_every_package_imports_only_those_below_it() -> None:
    violations = []
    for package, path in modules():
        allowed = MAY_IMPORT[package] | {package}
        for name in imports(path):
            top, _, rest = name.partition(".")
            known = any(f"{rest}.".startswith(f"{one}.") for one in allowed)
            if top == "workshop" and rest not in {"", "__version__", "servers"} and not known:
                violations.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert violations == []


def test_the_gateway_does_not_import_the_mcp_sdk() -> None:
    for path in [*(PACKAGE / "auth").rglob("*.py"), *(PACKAGE / "servers" / "gateway").rglob("*.py")]:
        assert not [name for name in imports(path) if name.split(".")[0] in {"mcp", "mcp_types"}], path


@pytest.mark.parametrize(
    ("modules", "later"),
    [
        (("gateway.app", "gateway.http_protocol"), {"aiohttp", "jinja2", "mcp"}),
        (("practice.app",), {"mcp"}),
    ],
)
def test_a_server_starts_without_what_only_a_login_or_a_tool_call_needs(
    modules: Sequence[str], later: set[str]
) -> None:
    """That is half of what it imports, or more; it loads that when it answers already."""
    names = ", ".join(f"workshop.servers.{name}" for name in modules)
    program = f"import sys, {names}; print(*{later!r} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_variations_import_the_public_face_of_auth_only() -> None:
    lessons = PACKAGE.parent / "parts"
    files = [*lessons.rglob("*.py"), *(PACKAGE / "servers" / "variation").rglob("*.py")]
    names = {name for path in files for name in imports(path) if name.startswith("workshop.auth.")}
    assert names
    assert names <= {f"workshop.auth.{name}" for name in dir(import_module("workshop.auth"))}


def test_only_the_console_prints() -> None:
    for package, path in modules():
        text = path.read_text("utf-8")
        if "print" not in text:  # which spares the parser most files
            continue
        calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
        printing = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
        assert not printing, f"{package}: {path} prints"


@pytest.mark.parametrize("command", NEVER_MCP)
def test_what_speaks_no_mcp_imports_nothing_heavy(command: str, tmp_path: Path) -> None:
    """A command may need psutil for what runs, and YAML for manifests; never the SDK or an HTTP stack."""
    program = (
        "import sys; from workshop.cli.main import main; code = main(sys.argv[1:]);"
        f"print(code, *[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command.split()],
        env={**os.environ, "WORKSHOP_HOME": str(tmp_path / "state"), "WORKSHOP_BACKEND": "embedded"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    code, *loaded = done.stderr.splitlines()[-1].split()
    expected, allowed = NEVER_MCP[command]
    assert int(code) == expected
    assert set(loaded) <= allowed


def test_no_module_imports_itself_by_way_of_others() -> None:
    """A cycle between modules, imports inside functions included: neither can be read without the other."""
    files = [path.relative_to(PACKAGE).with_suffix("") for _, path in modules()]
    names = {".".join(("workshop", *file.parts)): PACKAGE / file.with_suffix(".py") for file in files}
    graph = {name: {other for other in imports(path) if other in names} for name, path in names.items()}
    assert list(_cycles(graph)) == []


def _cycles(graph: dict[str, set[str]]) -> Iterator[list[str]]:
    """Remove modules that import none of the rest, or that none of the rest imports, until none is left."""
    left = {name: set(others) for name, others in graph.items()}
    while free := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in free}
    while free := {name for name in left if not any(name in others for others in left.values())}:
        left = {name: others for name, others in left.items() if name not in free}
    if left:
        yield sorted(left)
