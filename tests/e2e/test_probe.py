"""The probe against everything that `up` starts: its report of each server is true."""

import json
from typing import Any

from tests.environment import IsolatedInstance


def probe(instance: IsolatedInstance, name: str, path: str, code: int) -> dict[str, Any]:
    done = instance.run("probe", f"http://localhost:{instance.ports[name]}{path}", "--json")
    assert done.returncode == code, done.stdout + done.stderr
    data: dict[str, Any] = json.loads(done.stdout)["data"]
    data["found"] = {(finding["id"], finding["severity"]) for finding in data["findings"]}
    return data


def test_it_reports_what_is_true_of_each_server(running: IsolatedInstance) -> None:
    gateway = probe(running, "github-remote", "/mcp", 0)
    assert gateway["findings"] == []
    assert len(gateway["passed"]) >= 39
    assert [remark["id"] for remark in gateway["undecided"]] == ["M2"]
    assert len(gateway["requests"]) <= 20

    without_login = probe(running, "workshop", "/mcp", 0)
    assert without_login["found"] == {("R8", "low")}
    assert {"R9", "T90", "M2"} <= {remark["id"] for remark in without_login["passed"]}

    practice = probe(running, "practice-github", "/mcp/", 6)
    # It sends `error` without a token as GitHub does, ignores Origin, and has no registration.
    assert {("T78", "low"), ("R9", "medium"), ("A2", "medium")} <= practice["found"]
    assert not [finding for finding in practice["findings"] if finding["severity"] == "high"]

    no_server = running.run("probe", f"http://localhost:{running.ports['practice-github']}/", "--json")
    assert no_server.returncode == 1
    assert "No MCP server answers" in json.loads(no_server.stdout)["error"]["what"]
