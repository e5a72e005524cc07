"""`workshop part 4 run --trace` as a person runs it: it works, fails, is stopped; the trace is there.

`workshop trace explain` shows it: the whole text, and the same as JSON.
"""

import json
import re
from pathlib import Path
from typing import Any

import anyio
import pexpect
from inline_snapshot import external_file

from tests.cli.conftest import Workshop
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
    child.expect(r"(http://localhost:\d+/oauth/authorize\?\S+)\s")
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
    child.expect(r"(http://localhost:\d+/oauth/authorize\?\S+)\s")
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


SAMPLE = Path(__file__).with_name("sample.json")


def test_a_recorded_login_is_explained_in_the_terminal(workshop: Workshop) -> None:
    done = workshop("trace", "explain", str(SAMPLE))
    assert done.code == 0
    assert done.out == external_file("explained.txt")


def test_the_same_as_json_is_the_trace_itself(workshop: Workshop) -> None:
    done = workshop("trace", "explain", str(SAMPLE), "--json")
    found = json.loads(done.out)
    assert (found["command"], found["status"]) == ("trace explain", "success")
    assert found["data"] == json.loads(SAMPLE.read_text("utf-8"))


def test_every_request_has_a_sentence_and_most_a_reference(workshop: Workshop) -> None:
    found = json.loads(workshop("trace", "explain", str(SAMPLE), "--json").out)["data"]["steps"]
    assert all(step["sentence"].endswith(".") for step in found)
    named = {one for step in found for one in step["references"]}
    for standard in (
        "RFC 9728",
        "RFC 8414",
        "RFC 7591",
        "RFC 7636",
        "RFC 8707",
        "RFC 9207",
        "MCP authorization",
    ):
        assert any(standard in one for one in named), standard
    assert all(re.fullmatch(r"(RFC \d{4} §[\d.]+|MCP [a-z ]+, [\w ]+)", one) for one in named)
