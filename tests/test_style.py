"""The house style, held by the tools that know it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiers import LONGEST, SLOW, exists

ROOT = Path(__file__).parents[1]
MOST_LINES = 400
# Written apart, so that this file does not name them.
REGISTRY_HOSTS = ["pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "deb." + "debian.org"]


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_ruff_finds_nothing() -> None:
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--quiet"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(600)
def test_mypy_finds_nothing() -> None:
    """In one run over the project and `parts/`, as `.ci/run` starts it."""
    done = subprocess.run(
        [sys.executable, ".ci/check_types.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_of_ours_is_over_the_limit() -> None:
    for path in tracked():
        if path.suffix == ".py":
            assert len(path.read_text("utf-8").splitlines()) <= MOST_LINES, path


def test_no_file_names_a_package_registrys_host() -> None:
    for path in tracked():
        text = path.read_text("utf-8", errors="replace")
        assert not [host for host in REGISTRY_HOSTS if host in text], path


def test_nothing_in_the_repository_looks_like_a_real_token() -> None:
    pattern = re.compile(
        r"gh[oprsu]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|sk-[A-Za-z0-9]{20,}|AKIA[0-9A-Z]{16}"
    )
    for path in tracked():
        assert not pattern.search(path.read_text("utf-8", errors="replace")), path


def test_what_the_slow_tier_names_is_there() -> None:
    assert [entry for entry in (*SLOW, *LONGEST) if not exists(f"tests/{entry}")] == []
