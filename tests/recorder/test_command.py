"""`workshop part 4 run --trace` as a person runs it: it works, fails, is stopped; the trace is there."""

import json
import re
from pathlib import Path
from typing import Any

import anyio
import pexpect

from tests.e2e.test_canaries import leaks, secrets_of
from tests.environment import IsolatedInstance
from workshop.agent.practice_browser import approve_login


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def kinds(trace: dict[str, Any]) -> list[str]:
    return [step["kind"] for step in trace["steps"]]


def test_one_run_writes_all_three_forms_and_none_has_a_secret(running: IsolatedInstance) -> None:
    wanted = ("flight.html", "flight.json", "flight.HAR")
    options = [f"--trace={name}" for name in wanted]
    done = running.run("part", "4", "run", "--model", "rehearsal", "--approve-as", "learner", *options)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("Trace")] == [
        f"Trace: {name}" for name in wanted
    ]
    files = [running.folder / name for name in wanted]
    assert [path.stat().st_mode & 0o777 for path in files] == [0o600] * 3
    secrets = secrets_of(running)
    assert len(secrets) >= 6
    assert leaks(secrets, {path.name: path.read_text("utf-8") for path in files}) == []
    trace = read(running.folder / "flight.json")
    assert trace["title"] == "Part 4: GitHub's server behind OAuth"
    assert kinds(trace).count("upstream-mcp") == kinds(trace).count("mcp") >= 5
    assert all(one["holds"] for step in trace["steps"] for one in step["comparisons"])
    explained = running.run("trace", "explain", "flight.json")
    assert explained.returncode == 0
    assert "The token swap" in explained.stdout


def test_a_run_that_fails_leaves_its_trace_with_the_error(running: IsolatedInstance) -> None:
    options = ["--approve-as", "nobody", "--trace", "failed.json"]
    done = running.run("part", "4", "run", "--model", "rehearsal", *options)
    assert done.returncode == 4
    outcome = read(running.folder / "failed.json")["outcome"]
    assert outcome["status"] == "failed"
    assert outcome["what"] in done.stderr
    assert kinds(read(running.folder / "failed.json"))[-1] == "upstream-authorize"


def test_ctrl_c_at_the_consent_page_leaves_its_trace_too(running: IsolatedInstance) -> None:
    options = ["--no-browser", "--model", "rehearsal", "--trace", "stopped.json"]
    child = running.spawn("part", "4", "run", *options)
    child.expect(r"(http://localhost:\d+/oauth/authorize\?\S+)")
    child.expect("wait for the sign-in")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    trace = read(running.folder / "stopped.json")
    assert trace["outcome"]["status"] == "interrupted"
    assert (trace["steps"][-1]["kind"], trace["steps"][-1]["seen_by"]) == ("authorize", "built")


def test_with_ones_own_browser_the_agents_and_the_upstreams_requests_are_recorded(
    running: IsolatedInstance,
) -> None:
    options = ["--no-browser", "--model", "rehearsal", "--trace", "person.json"]
    child = running.spawn("part", "4", "run", *options)
    child.expect(r"(http://localhost:\d+/oauth/authorize\?\S+)")
    assert isinstance(child.match, re.Match)
    anyio.run(approve_login, child.match.group(1), "learner")
    child.expect("GPX export drops the last waypoint")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    trace = read(running.folder / "person.json")
    seen = {step["kind"]: step["seen_by"] for step in trace["steps"]}
    assert seen["authorize"] == "built"
    assert seen["upstream-authorize"] == seen["upstream-consent"] == seen["upstream-token"] == "upstream"
    assert seen["callback"] == "listener"
    order = [kind for kind in kinds(trace) if kind.startswith("upstream") or kind in ("callback", "token")]
    assert order[:6] == [
        *("upstream-authorize", "upstream-consent", "upstream-token", "upstream-user", "callback", "token")
    ]
    assert all(one["holds"] for step in trace["steps"] for one in step["comparisons"])
    assert leaks(secrets_of(running), {"person.json": json.dumps(trace)}) == []


def test_a_part_without_http_reports_that(running: IsolatedInstance) -> None:
    done = running.run(
        "part", "1", "run", "--model", "rehearsal", "--trace", "one.html", "--trace", "one.json"
    )
    assert done.returncode == 0, done.stderr
    assert read(running.folder / "one.json")["steps"] == []
    assert "Nothing went over HTTP" in (running.folder / "one.html").read_text("utf-8")
