"""The benchmarks run, or report what they lack; no test depends on how fast anything was."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.gateway_paths import PROXYRUNNER, peer_is_installed
from tests.benchmarks.gateway_table import FIGURES as LOADS
from tests.benchmarks.gateway_table import STARTS

ROOT = Path(__file__).parents[1]
SMALLEST = ["--rounds=1", "--seconds=0.001", "--connections=2", "--calls=50", "--starts=1", "--logins=1"]


ERAS = ("2026-07-28", "2025-11-25")
KINDS = [f"{client}, {era}" for client in ("raw HTTP", "SDK client") for era in ERAS]
PROCESSES, BARS, TOOLHIVE = "", "Bars for ours", "Ours beside ToolHive's proxy"
COUNTED = {"wrong answers": 0, "first login, requests": 9, "second login, requests": 6}

Table = dict[str, dict[str, list[str]]]
"""By the heading of a section, and the label of a row: its cells. The row above the figures has label ""."""


@pytest.fixture(scope="module")
def table() -> Table:
    return read_table(printed("gateway", *SMALLEST))


def printed(benchmark: str, *words: str, path: Path | None = None, seconds: float = 280) -> str:
    """What a benchmark prints; with `path`, that is its whole environment."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.benchmarks.{benchmark}", *words],
        cwd=ROOT,
        env={"PATH": str(path)} if path else None,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def read_table(text: str) -> Table:
    """Sections are separated by a blank line or begin with a line that is not indented."""
    sections: Table = {}
    rows: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line.startswith(" "):
            rows = sections.setdefault(line.removesuffix(", 2 connections"), {})
            continue
        label, *cells = re.split(r"\s{2,}", line[2:].rstrip())
        if label in {BARS, TOOLHIVE}:
            rows = sections.setdefault(label, {})
        rows[label] = cells
    return sections


def figures(table: Table, section: str) -> dict[str, float]:
    """The first figure of each row in a section; raises ValueError where it is not a number."""
    return {label: float(cells[0]) for label, cells in table[section].items() if label not in {"", section}}


@pytest.mark.timeout(300)
def test_it_measures_each_client_in_each_era(table: Table) -> None:
    paths = table[PROCESSES][""]
    assert paths[0] == "ours"
    for kind in KINDS:
        above, *rows = table[kind].items()
        assert above == ("", ["direct", *paths])
        assert [label for label, _ in rows] == [*LOADS, "wrong answers"]
        assert all(len([float(cell) for cell in cells]) == 1 + len(paths) for _, cells in rows)
    assert {*STARTS, "RSS after all of this, MB"} <= set(figures(table, PROCESSES))
    logins = {f"{login} login, {unit}" for login in ("first", "second") for unit in ("ms", "requests")}
    assert logins <= set(figures(table, PROCESSES))


def test_every_bar_has_a_figure_and_the_verdict_that_follows_from_it(table: Table) -> None:
    stated = figures(table, BARS)
    assert {
        *(f"added {share}, ms, {era}" for share in ("p50", "p99") for era in ERAS),
        *(f"% of direct, 1 conn., {client} {era}" for client in ("raw", "SDK") for era in ERAS),
        *("start to the first 200, s", "RSS after all of this, MB", "MB grown over 50 calls"),
        *("first login, ms", "second login, ms", *COUNTED),
    } <= set(stated)
    assert {label for label in stated if label.startswith("added p50")} <= set(verdicts(table))


def verdicts(table: Table) -> dict[str, str]:
    """Return each bar as "met" or "not met", checked against what the row itself states."""
    found = {}
    for label, (figure, bar, *verdict) in table[BARS].items():
        if label == BARS or not verdict:
            continue
        relation, limit = bar.split()
        difference = float(figure) - float(limit)
        # The figure is rounded to two decimals before it is printed.
        if abs(difference) > 0.005:
            met = difference < 0 if relation == "<=" else difference > 0
            assert verdict == ["met" if met else "not met"], label
        found[label] = verdict[0]
    return found


def test_what_is_counted_meets_its_bars_on_any_machine(table: Table) -> None:
    """A login sends no request too many, and no call gets a wrong answer."""
    for label, bar in COUNTED.items():
        assert table[BARS][label][1:] == [f"<= {bar}", "met"], label


def test_it_measures_the_peer_where_it_is_installed(table: Table) -> None:
    if not peer_is_installed():
        pytest.skip("FastMCP, the peer, is not installed (uv sync --group benchmark)")
    peers = {f"times the {peer}, 2 conn., {era}" for peer in ("peer", "tuned peer") for era in ERAS}
    assert peers <= set(figures(table, BARS))


def test_the_clusters_benchmark_reports_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "kind").touch(mode=0o755)
    assert printed("cluster", path=tmp_path) == (
        "Skipped: this needs docker, kind, helm, kubectl, and there is no docker, helm, kubectl on the PATH\n"
    )


def test_the_rooms_benchmark_measures_a_class_that_logs_in_and_reports_what_it_lacks(tmp_path: Path) -> None:
    skipped, *logins = printed("room", "--people", "5", path=tmp_path).splitlines()
    assert skipped == "Skipped: a room needs kubectl, Helm and the programs of KUBEBUILDER_ASSETS"
    assert [line.partition(":")[0] for line in logins] == ["5 logins at once"] * 2


def test_it_measures_toolhives_proxy_where_it_is_named(table: Table) -> None:
    if not os.environ.get(PROXYRUNNER):
        pytest.skip(f"{PROXYRUNNER} is not set: the path to ToolHive's thv-proxyrunner")
    assert len(figures(table, TOOLHIVE)) == 15
    for label, (*stated, quartiles, verdict) in table[TOOLHIVE].items():
        if label == TOOLHIVE:
            continue
        assert len(stated) == 3, label
        difference, low, high = (float(each) for each in (stated[2], *quartiles.split("..")))
        lost, least = (-difference, -high) if label.startswith("calls/s") else (difference, low)
        # What is printed is rounded, and a verdict is not.
        assert verdict == "no slower" or lost >= 0, label
        assert (verdict == "slower") <= (least >= 0), label
        assert verdict in {"slower", "level", "no slower"}, label


def test_the_agent_takes_little_memory_for_a_bomb() -> None:
    lines = printed("bombs").splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "gzip bomb",
        "endless JSON",
        "huge 401",
        "endless line",
    ]
    assert all(" MB met " in line and line.endswith("is too large") for line in lines), lines


@pytest.mark.timeout(600)
def test_a_variations_server_has_its_figures() -> None:
    """Of the two whose people have more than a token."""
    names = ["worker", "elicitation"]
    told = printed("variations", *names, "--people=2", "--calls=1", seconds=580)
    figures = r"p50 \d+ ms, p99 \d+ ms, \d+/s, \d+\.\d ms of processor time, \d+ MiB"
    assert re.findall(rf"^([\w-]+): 2 people, {figures}$", told, re.MULTILINE) == names
