"""Every command that is shown can be pasted where it is shown."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from workshop.core import invocation
from workshop.core.invocation import UV_RUN, runnable, runnable_line, runnable_markdown

ROOT = Path(__file__).resolve().parents[2]
LESSON = """\
Run `python parts/02_local_mcp/server.py` by hand, or `workshop part 2 run`.

```sh
workshop part 2 run
(echo; sleep 2) | python parts/02_local_mcp/server.py | python -m json.tool
```
"""


@pytest.fixture
def under_uv_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UV_RUN, "1")
    for name in ("_interpreter", "_program"):
        monkeypatch.setattr(invocation, name, getattr(invocation, name).__wrapped__)


@pytest.mark.usefixtures("under_uv_run")
def test_under_uv_run_a_command_begins_with_it_and_a_name_does_not() -> None:
    shown = runnable("`workshop` is not up; run `workshop up` or `workshop --help`")
    assert shown == "`workshop` is not up; run `uv run workshop up` or `uv run workshop --help`"
    assert runnable_line("workshop up") == "uv run workshop up"
    lesson = runnable_markdown(LESSON)
    assert "\nuv run workshop part 2 run\n" in lesson
    assert "| uv run python " in lesson
    assert "| uv run python -m json.tool" in lesson
    assert lesson.count("uv run") == 5


def test_without_uv_run_a_command_stays_as_it_is() -> None:
    assert runnable("run `workshop up`") == "run `workshop up`"


SCRIPT = Path(sys.executable).with_name("workshop")
BARE = {"PATH": "/usr/bin:/bin"}


@pytest.mark.parametrize(
    ("called", "environment", "shown"),
    [
        ([str(SCRIPT)], BARE, str(SCRIPT)),
        (["./a folder/workshop"], BARE, "'./a folder/workshop'"),
        ([sys.executable, "-m", "workshop"], BARE, f"{sys.executable} -m workshop"),
        ([sys.executable, "-m", "workshop"], {"PATH": f"{SCRIPT.parent}:/bin"}, "workshop"),
        (["./a folder/workshop"], {"PATH": f"{SCRIPT.parent}:/bin"}, "workshop"),
    ],
)
def test_a_hint_names_the_command_as_it_was_called(
    tmp_path: Path, called: list[str], environment: dict[str, str], shown: str
) -> None:
    """A shell that does not find `workshop` runs the hint; another `workshop` on the PATH is not ours."""
    (tmp_path / "a folder").symlink_to(SCRIPT.parent)
    other = tmp_path / "other" / "workshop"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\nexit 1\n")
    other.chmod(0o755)
    here = {**environment, "HOME": str(tmp_path), "WORKSHOP_HOME": str(tmp_path / "state")}
    here["PATH"] += f":{other.parent}"

    def typed(command: str) -> subprocess.CompletedProcess[str]:
        argv = ["bash", "-c", command]
        return subprocess.run(argv, cwd=tmp_path, env=here, capture_output=True, text=True, check=False)

    first = typed(f"{shlex.join(called)} part list")
    (following,) = re.findall(r"^Next: `(.+?)`$", first.stderr, re.MULTILINE)
    assert following.startswith(f"{shown} "), first.stderr
    assert typed(f"{following} --help").returncode == 0
    document = json.loads(typed(f"{shlex.join(called)} part list --json").stdout)
    assert document["next"] == f"`workshop{following.removeprefix(shown)}`", "JSON names it plainly"


@pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv")
def test_what_uv_run_starts_shows_a_next_step_that_a_plain_shell_can_run(tmp_path: Path) -> None:
    """The variable is uv's own: when uv renames it, this fails. The PATH has no `workshop` here."""
    uv = Path(shutil.which("uv") or "").parent
    path = os.pathsep.join([str(uv), "/usr/local/bin", "/usr/bin", "/bin"])
    environment = {
        "PATH": path,
        "HOME": os.environ["HOME"],
        "WORKSHOP_HOME": str(tmp_path / "state"),
        "UV_PROJECT": str(ROOT),
        "UV_NO_SYNC": "1",
        "UV_OFFLINE": "1",
    }
    if shutil.which("workshop", path=path):
        pytest.skip("`workshop` is installed for every shell")

    def typed(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    first = typed("uv run workshop part list")
    (following,) = re.findall(r"^Next: `(.+?)`", first.stderr, re.MULTILINE)
    assert following.startswith("uv run workshop ")
    assert typed(f"{following} --help").returncode == 0, first.stderr


def test_a_lessons_python_line_runs_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As from an installed wheel: the parts are not below the current folder, and `python` may be another."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    invocation._interpreter.cache_clear()
    lesson = runnable_markdown((ROOT / "parts/01_agent_loop/README.md").read_text("utf-8"))
    invocation._interpreter.cache_clear()
    (line,) = [each for each in lesson.splitlines() if each.endswith("01_agent_loop/main.py")]
    assert sys.executable in line
    environment = {**os.environ, "WORKSHOP_HOME": str(tmp_path / "state")}
    done = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "trail-mapper" in done.stdout


def test_a_hint_names_a_parts_program_by_a_path_that_works_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = ROOT / "parts/04_remote_oauth/main.py"
    assert f" {path}`" in runnable("Next: `python parts/04_remote_oauth/main.py`")


def test_a_lessons_commands_work_where_a_folder_has_a_space_in_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a foldér" / "parts"
    shutil.copytree(ROOT / "parts/01_agent_loop", folder / "01_agent_loop")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(invocation, "parts_dir", lambda: folder)
    lesson = runnable_markdown((ROOT / "parts/01_agent_loop/README.md").read_text("utf-8"))
    (run,) = [line for line in lesson.splitlines() if line.endswith("01_agent_loop/main.py'")]
    by_hand = lesson.partition("## Change this and see\n")[2].partition("\n## ")[0]
    script = "\n".join(["set -e", run, *re.findall(r"```sh\n(.*?)```", by_hand, re.DOTALL)])
    environment = {**os.environ, "WORKSHOP_HOME": str(tmp_path / "state")}
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "trail-mapper" in done.stdout
    assert '"enum"' in done.stdout
    hint = runnable("Next: `python parts/01_agent_loop/main.py`")
    assert hint.endswith(f" {shlex.quote(str(folder / '01_agent_loop/main.py'))}`")
    named = runnable_markdown("Read `parts/01_agent_loop/main.py`.")
    assert named == f"Read `{folder}/01_agent_loop/main.py`."
