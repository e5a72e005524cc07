"""An installed wheel carries the lessons: it works outside the checkout."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from workshop.core.paths import checkout_dir


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(300)
def test_a_wheel_in_a_fresh_venv_lists_and_runs_the_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSHOP_HOME", str(tmp_path / "state"))  # the person's own progress is not ours
    root = checkout_dir()
    if root is None:
        pytest.skip("this is no checkout")
    uv = [sys.executable, "-m", "uv"] if _has_uv_module() else ["uv"]
    run(*uv, "build", "--wheel", "--quiet", "--out-dir", tmp_path / "dist", cwd=root)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    run(*uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(*uv, "pip", "install", "--quiet", "--python", python, wheel, cwd=tmp_path)
    workshop = tmp_path / "venv" / "bin" / "workshop"
    listed = json.loads(run(workshop, "part", "list", "--json", cwd=tmp_path))
    folders = [Path(part["folder"]) for part in listed["data"]]
    assert [folder.name[:2] for folder in folders] == ["01", "02", "03", "04"]
    assert all(folder.is_relative_to(tmp_path / "venv") for folder in folders)
    words = ("part", "4", "run", "--variation", "worker", "--weak", "--approve-as", "learner")
    assert "trail-mapper" in run(workshop, *words, cwd=tmp_path)
    run(workshop, "teardown", cwd=tmp_path)
    assert "trail-mapper" in run(workshop, "part", "2", "run", "--model", "rehearsal", cwd=tmp_path)


def _has_uv_module() -> bool:
    import importlib.util

    return importlib.util.find_spec("uv") is not None
