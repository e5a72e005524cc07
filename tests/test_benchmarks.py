"""The benchmarks run, or say what they lack; their figures are for reading, and no test depends on them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.gateway_paths import PROXYRUNNER, peer_is_installed

ROOT = Path(__file__).parents[1]
SMALLEST = ["--rounds=1", "--seconds=0.001", "--connections=2", "--calls=50", "--starts=1", "--logins=1"]


@pytest.fixture(scope="module")
def table() -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.gateway", *SMALLEST],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(300)
def test_it_measures_the_gateway_and_names_every_bar(table: str) -> None:
    for era in ("2026-07-28", "2025-11-25"):
        assert f"raw HTTP, {era}" in table
        assert f"SDK client, {era}" in table
        assert f"added p50, ms, {era}" in table
    for bar in ("start to the first 200, s", "RSS after all of this, MB", "MB grown over 50 calls"):
        assert bar in table


def test_what_is_counted_meets_its_bars_on_any_machine(table: str) -> None:
    """A login sends no request too many, and no call gets a wrong answer."""
    counted = [
        line.split()
        for line in table.splitlines()
        if line.endswith(" met") and ("requests" in line or "wrong answers" in line)
    ]
    assert [words[-2] for words in counted] == ["0", "9", "6"]
    assert "not" not in [word for words in counted for word in words]


def test_it_measures_the_peer_where_it_is_installed(table: str) -> None:
    if not peer_is_installed():
        pytest.skip("FastMCP, the peer, is not installed (uv sync --group benchmark)")
    for era in ("2026-07-28", "2025-11-25"):
        assert f"times the peer, 2 conn., {era}" in table
        assert f"times the tuned peer, 2 conn., {era}" in table


def test_the_clusters_benchmark_says_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "kind").touch(mode=0o755)
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.cluster"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "Skipped: this needs docker, kind, helm, kubectl, and there is no docker, helm, kubectl on the PATH\n"
    )


def test_it_measures_toolhives_proxy_where_it_is_named(table: str) -> None:
    if not os.environ.get(PROXYRUNNER):
        pytest.skip(f"{PROXYRUNNER} is not set: the path to ToolHive's thv-proxyrunner")
    rows = [line for line in table.partition("Ours beside ToolHive's proxy")[2].splitlines() if line.strip()]
    assert len([row for row in rows if row.endswith(("slower", "no slower"))]) == 8
