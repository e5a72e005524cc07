"""What the images are built from: complete without the checkout, and the same again needs no build."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from workshop.core import paths
from workshop.core.errors import UsageError
from workshop.lab.cluster.recipes import build_arguments, recipes_for
from workshop.lab.pins import pinned

PINS = pinned()
CLUSTER = paths.cluster_dir()
# What the image has beside the package: the requirements of both images, by the names they are imported by.
IMPORTED = """
import importlib.metadata, sys
import workshop.servers.practice.__main__, workshop.servers.practice.app, workshop.servers.practice.mcp_server
import workshop.core.serving
assert workshop.__file__.startswith(sys.argv[1]), workshop.__file__
names = importlib.metadata.packages_distributions()
print(*{owner for name in list(sys.modules) for owner in names.get(name, ())}, sep="\\n")
"""


def requirements(path: Path) -> set[str]:
    return {line.partition("==")[0] for line in path.read_text("utf-8").splitlines() if "==" in line}


def test_the_practice_images_files_are_all_that_it_imports(tmp_path: Path) -> None:
    practice = recipes_for("practice", PINS)[-1]
    with practice.context() as context:
        done = subprocess.run(
            [sys.executable, "-c", IMPORTED, str(context)],
            cwd=tmp_path,
            env={"PYTHONPATH": str(context), "PATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (context / "requirements.txt").is_file()
    assert done.returncode == 0, done.stderr
    server = paths.parts_dir() / "02_local_mcp" / "requirements.txt"
    installed = requirements(server) | requirements(CLUSTER / "practice" / "requirements.txt")
    # Here other things are installed, too: those that some library imports because they are there.
    chance = {"mcp-workshop", "backports.tarfile", "watchfiles", "zstandard", "brotli", "h2"}
    used = {re.sub(r"[-_.]+", "-", name).lower() for name in done.stdout.split()}
    assert used - {re.sub(r"[-_.]+", "-", name) for name in chance} <= installed


def test_the_practice_images_requirements_are_the_projects() -> None:
    import tomllib

    project = tomllib.loads((paths.cluster_dir().parent / "pyproject.toml").read_text("utf-8"))
    pinned_lines = set(project["tool"]["uv"]["constraint-dependencies"])
    ours = (CLUSTER / "practice" / "requirements.txt").read_text("utf-8").splitlines()
    assert {line for line in ours if "==" in line} <= pinned_lines


def test_the_dockerfiles_take_the_arguments_they_are_given() -> None:
    certificate = CLUSTER / "kind.yaml"  # any file: it is not read as one here
    made = recipes_for("practice", replace(PINS, ca_file=certificate))
    assert [recipe.argument for recipe in made] == ["PYTHON_IMAGE", "PYTHON_IMAGE", "MCP_SERVER_IMAGE"]
    assert [recipe.base for recipe in made] == [PINS.python, made[0].tag, PINS.mcp_server]
    for recipe in made:
        text = recipe.dockerfile.read_text("utf-8")
        (default,) = re.findall(rf"^ARG {recipe.argument}(?:=(\S+))?$", text, re.MULTILINE)
        assert f"FROM ${{{recipe.argument}}}" in text
        assert default in {"", PINS.python, PINS.mcp_server}
        copied = re.findall(r"^COPY (\S+)", text, re.MULTILINE)
        for name in copied:
            assert [path for path in recipe.files if path == name or path.startswith(f"{name}/")]


def test_files_that_only_their_owner_may_read_are_made_readable_for_the_images_user() -> None:
    for recipe in recipes_for("practice", PINS):  # a checkout keeps the umask it was made with
        text = recipe.dockerfile.read_text("utf-8")
        last = text.rindex("\nCOPY ")
        assert last < text.index("\nRUN chmod -R a+rX .\n") < text.index("\nUSER 1000:1000\n")


def test_the_practice_image_runs_as_its_own_user_with_its_configuration() -> None:
    text = (CLUSTER / "practice" / "Dockerfile").read_text("utf-8")
    instructions = [line for line in text.splitlines() if re.match(r"[A-Z]+ ", line)]
    assert instructions[-3:-1] == ["USER 1000:1000", "EXPOSE 8090"]
    assert '"-m", "workshop.servers.practice", "--config", "/etc/practice/config.json"' in instructions[-1]


def test_a_recipe_changes_with_its_files_its_base_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "parts"
    for name in ("02_local_mcp/server.py", "02_local_mcp/main.py", "03_toolhive/Dockerfile"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"COPY server.py \\\n  ./\n# {name}")
    monkeypatch.setattr(paths, "parts_dir", lambda: folder)

    def made_of() -> str:
        return recipes_for("mcp_server", PINS)[0].made_of()

    first = made_of()
    (folder / "02_local_mcp" / "__pycache__").mkdir()
    (folder / "02_local_mcp" / "__pycache__" / "server.pyc").write_text("compiled")
    (folder / "02_local_mcp" / "main.py").write_text("a learner's client, which is not in the image")
    assert made_of() == first
    (folder / "02_local_mcp" / "server.py").write_text("a learner's tool")
    changed = made_of()
    assert changed != first
    assert recipes_for("mcp_server", replace(PINS, python="other:1"))[0].made_of() != changed


@pytest.mark.parametrize(
    "instruction", ["COPY . .", 'COPY ["server.py", "./"]', "ADD server.py ./", "COPY *.py ./"]
)
def test_every_file_counts_where_a_dockerfile_does_not_name_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instruction: str
) -> None:
    for name in ("02_local_mcp/server.py", "02_local_mcp/main.py", "03_toolhive/Dockerfile"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(instruction)
    monkeypatch.setattr(paths, "parts_dir", lambda: tmp_path)
    assert set(recipes_for("mcp_server", PINS)[0].files) == {"server.py", "main.py"}


def test_the_build_knows_the_networks_proxy_and_index(monkeypatch: pytest.MonkeyPatch) -> None:
    (recipe,) = recipes_for("mcp_server", PINS)
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    arguments = build_arguments(recipe, PINS)
    assert arguments["PIP_INDEX_URL"] == "https://index.example/simple"
    assert arguments["https_proxy"] == "http://proxy.example:3128"
    ours = build_arguments(recipe, replace(PINS, proxy="http://other.example:3128"))
    assert ours["HTTPS_PROXY"] == "http://other.example:3128"


@pytest.mark.parametrize(
    ("told", "used"),
    [
        ("https://index.example/simple", True),
        ("lab=https://index.example/simple", True),
        ("https://me:word@index.example/simple", False),
        ("http://localhost:3141/root", False),
        ("/srv/wheels", False),
    ],
)
def test_the_build_takes_the_index_that_uv_was_given_where_a_container_can_use_it(
    monkeypatch: pytest.MonkeyPatch, told: str, *, used: bool
) -> None:
    (recipe,) = recipes_for("mcp_server", PINS)
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.setenv("UV_DEFAULT_INDEX", told)
    index = build_arguments(recipe, PINS).get("PIP_INDEX_URL")
    assert index == ("https://index.example/simple" if used else None)
    monkeypatch.setenv("PIP_INDEX_URL", "https://pip.example/simple")
    assert build_arguments(recipe, PINS)["PIP_INDEX_URL"] == "https://pip.example/simple"


def test_an_index_with_a_password_is_refused_without_telling_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://someone:pass-word@index.example/simple")
    (recipe,) = recipes_for("mcp_server", PINS)
    with pytest.raises(UsageError, match="PIP_INDEX_URL") as caught:
        build_arguments(recipe, PINS)
    assert "pass-word" not in f"{caught.value.what}{caught.value.why}{caught.value.hint}"


def test_what_others_built_has_no_recipe() -> None:
    both = replace(PINS, prebuilt=frozenset({"mcp_server", "practice"}))
    assert (
        recipes_for("practice", both)
        == recipes_for("mcp_server", both)
        == recipes_for("operator", PINS)
        == []
    )
