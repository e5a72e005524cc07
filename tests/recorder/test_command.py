"""`workshop part 4 run --trace` as a person runs it: it works, fails, is stopped; the trace is there."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pexpect
import pytest

from tests.e2e.conftest import WORKLOADS, Room
from tests.e2e.test_canaries import leaks, secrets_of
from workshop.agent.form_walker import walk
from workshop.core.ports import free_port
from workshop.lab import process


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """One room for the whole module; it is up when the first test begins."""
    folder = tmp_path_factory.mktemp("here")
    (folder / ".env").touch()
    made = Room(tmp_path_factory.mktemp("state"), folder, {name: free_port() for name in WORKLOADS})
    made.up()
    yield made
    for left in made.processes():
        process.end(left)


@pytest.fixture(autouse=True)
def logged_out(stage: Room) -> None:
    for path in (stage.directory / "logins").glob("*.json"):
        path.unlink()


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def kinds(trace: dict[str, Any]) -> list[str]:
    return [step["kind"] for step in trace["steps"]]


def test_one_run_writes_all_three_forms_and_none_has_a_secret(stage: Room) -> None:
    wanted = ("flight.html", "flight.json", "flight.HAR")
    options = [f"--trace={name}" for name in wanted]
    done = stage.run("part", "4", "run", "--model", "rehearsal", "--approve-as", "learner", *options)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("Trace")] == [
        f"Trace: {name}" for name in wanted
    ]
    files = [stage.folder / name for name in wanted]
    assert [path.stat().st_mode & 0o777 for path in files] == [0o600] * 3
    secrets = secrets_of(stage)
    assert len(secrets) >= 6
    assert leaks(secrets, {path.name: path.read_text("utf-8") for path in files}) == []
    trace = read(stage.folder / "flight.json")
    assert trace["title"] == "Part 4: GitHub's server behind OAuth"
    assert kinds(trace).count("upstream-mcp") == kinds(trace).count("mcp") >= 5
    assert all(one["holds"] for step in trace["steps"] for one in step["comparisons"])
    explained = stage.run("trace", "explain", "flight.json")
    assert explained.returncode == 0
    assert "The token swap" in explained.stdout


def test_a_run_that_fails_leaves_its_trace_with_the_error(stage: Room) -> None:
    options = ["--approve-as", "nobody", "--trace", "failed.json"]
    done = stage.run("part", "4", "run", "--model", "rehearsal", *options)
    assert done.returncode == 4
    outcome = read(stage.folder / "failed.json")["outcome"]
    assert outcome["status"] == "failed"
    assert outcome["what"] in done.stderr
    assert kinds(read(stage.folder / "failed.json"))[-1] == "upstream-authorize"


def test_ctrl_c_at_the_consent_page_leaves_its_trace_too(stage: Room) -> None:
    options = ["--no-browser", "--model", "rehearsal", "--trace", "stopped.json"]
    child = stage.spawn("part", "4", "run", *options)
    child.expect(r"(http://localhost:\d+/oauth/authorize\?\S+)")
    child.expect("Wait for the approval")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    trace = read(stage.folder / "stopped.json")
    assert trace["outcome"]["status"] == "interrupted"
    assert (trace["steps"][-1]["kind"], trace["steps"][-1]["seen_by"]) == ("authorize", "built")


def test_with_a_browser_of_ones_own_the_agents_side_and_the_upstreams_are_told(stage: Room) -> None:
    options = ["--no-browser", "--model", "rehearsal", "--trace", "person.json"]
    child = stage.spawn("part", "4", "run", *options)
    child.expect(r"(http://localhost:\d+/oauth/authorize\?\S+)")
    assert isinstance(child.match, re.Match)
    anyio.run(walk, child.match.group(1), "learner")
    child.expect("GPX export drops the last waypoint")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    trace = read(stage.folder / "person.json")
    seen = {step["kind"]: step["seen_by"] for step in trace["steps"]}
    assert seen["authorize"] == "built"
    assert seen["upstream-authorize"] == seen["upstream-consent"] == seen["upstream-token"] == "upstream"
    assert seen["callback"] == "listener"
    order = [kind for kind in kinds(trace) if kind.startswith("upstream") or kind in ("callback", "token")]
    assert order[:6] == [
        *("upstream-authorize", "upstream-consent", "upstream-token", "upstream-user", "callback", "token")
    ]
    assert all(one["holds"] for step in trace["steps"] for one in step["comparisons"])
    assert leaks(secrets_of(stage), {"person.json": json.dumps(trace)}) == []


def test_a_part_without_http_says_so(stage: Room) -> None:
    done = stage.run("part", "1", "run", "--model", "rehearsal", "--trace", "one.html", "--trace", "one.json")
    assert done.returncode == 0, done.stderr
    assert read(stage.folder / "one.json")["steps"] == []
    assert "Nothing went over HTTP" in (stage.folder / "one.html").read_text("utf-8")
