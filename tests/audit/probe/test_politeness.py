"""What the probe does to a server: few requests, each once, and to no other server."""

import json
from dataclasses import replace

import pytest

from tests.audit.probe.weak import WeakServer
from workshop.audit.probe.exchange import MOST_REQUESTS
from workshop.audit.probe.model import Answer, Evidence, McpAnswers, ResourceAnswers, Target
from workshop.audit.probe.report import judge, probe


def paths(weak: WeakServer) -> list[str]:
    return [f"{request.method} {request.url.path}" for request in weak.requests]


def hosts(weak: WeakServer) -> set[str]:
    return {
        request.headers["host"].rpartition(":")[0] or request.headers["host"] for request in weak.requests
    }


@pytest.mark.parametrize(
    "holes",
    [
        set(),
        {"open", "handshake only", "any origin", "any host"},
        {"oidc only", "any redirect, deletable", "no prm"},
        {"open announcing", "oidc only", "any redirect, deletable", "any origin", "any host", "moved"},
    ],
)
def test_it_sends_few_requests_and_reports_each(weak: WeakServer, holes: set[str]) -> None:
    weak.holes |= holes
    reported: list[str] = []
    report = probe(f"{weak.origin}/mcp", sending=reported.append)
    assert len(report.requests) == len(weak.requests) <= MOST_REQUESTS
    assert reported == paths(weak)
    assert sum(path == "POST /register" for path in reported) <= 1


def test_no_session_and_no_client_is_left_behind(weak: WeakServer) -> None:
    weak.holes |= {"open", "handshake only", "any origin", "any host"}
    probe(f"{weak.origin}/mcp")
    assert "DELETE /mcp" in paths(weak)
    assert weak.sessions == set()
    weak.reset()
    weak.holes |= {"any redirect, deletable"}
    report = probe(f"{weak.origin}/mcp")
    assert weak.clients == {}
    assert [finding.seen.rpartition("; ")[2] for finding in report.findings] == [
        "the client was deleted again"
    ]


def test_a_client_that_cannot_be_deleted_is_reported(weak: WeakServer) -> None:
    weak.holes.add("any redirect")
    (finding,) = probe(f"{weak.origin}/mcp").findings
    assert finding.seen.endswith("client 'made-here' remains registered")
    assert "made-here" in weak.clients


def test_the_authorization_server_on_another_host_is_asked_only_with_follow(weak: WeakServer) -> None:
    weak.holes.add("issuer elsewhere")
    report = probe(f"{weak.origin}/mcp")
    assert "127.0.0.1" not in hosts(weak)
    assert "--follow" in report.not_looked_at[0]
    assert "A3" not in {remark.id for remark in report.passed}
    followed = probe(f"{weak.origin}/mcp", follow=True)
    assert "127.0.0.1" in hosts(weak)
    assert not followed.not_looked_at
    assert "A3" in {remark.id for remark in followed.passed}


def test_redirects_are_not_followed(weak: WeakServer) -> None:
    weak.holes |= {"open redirect", "login first"}
    probe(f"{weak.origin}/mcp")
    assert "GET /login" not in paths(weak)
    assert "evil.example" not in {
        request.url.hostname for request in weak.requests if request.method == "GET"
    }


def test_a_redirect_on_the_same_host_is_the_server_that_was_meant(weak: WeakServer) -> None:
    weak.holes.add("moved")
    report = probe(f"{weak.origin}/mcp")
    assert report.url == f"{weak.origin}/moved"


def test_of_a_huge_answer_only_the_beginning_is_read(weak: WeakServer) -> None:
    weak.holes.add("huge metadata")
    assert "R1" in {finding.id for finding in probe(f"{weak.origin}/mcp").findings}


def test_nothing_is_asked_after_the_time_is_up(weak: WeakServer) -> None:
    report = probe(f"{weak.origin}/mcp", seconds=0)
    assert paths(weak) == ["POST /mcp"]
    assert {"T84", "R9"} <= {remark.id for remark in report.undecided}


def test_no_credential_of_anybody_is_sent(weak: WeakServer) -> None:
    probe(f"{weak.origin}/mcp")
    sent = {request.headers.get("authorization", "") for request in weak.requests} - {""}
    made_up = [value.removeprefix("Bearer ") for value in sent]
    assert len(made_up) == 2
    assert all(token == "practice_probe_worthless" or token.endswith(".") for token in made_up)
    assert not any("cookie" in request.headers for request in weak.requests)


def test_off_this_machine_more_is_expected() -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {}})
    answer = Answer("POST /mcp", "https://mcp.example/mcp", 200, (), body)
    evidence = Evidence(
        Target("https://mcp.example/mcp"), McpAnswers(answer, answer), ResourceAnswers(), "", None
    )
    found = {finding.id: finding.severity for finding in judge(evidence, ()).findings}
    assert found["R8"] == "high"
    assert found["H4"] == "low"
    plain_http = judge(replace(evidence, target=Target("http://mcp.example/mcp")), ()).findings
    assert ("A6", "high") in {(finding.id, str(finding.severity)) for finding in plain_http}
    assert "H4" not in {finding.id for finding in plain_http}


def test_on_this_machine_an_open_server_for_every_web_page_is_a_high_finding(weak: WeakServer) -> None:
    weak.holes |= {"open", "any origin", "any host", "cors"}
    report = probe(f"{weak.origin}/mcp")
    found = {(finding.id, str(finding.severity)) for finding in report.findings}
    assert {("R9", "high"), ("T90", "high"), ("T91", "high")} <= found


def test_a_server_of_one_era_is_reported(weak: WeakServer) -> None:
    weak.holes |= {"open", "handshake only"}
    findings = probe(f"{weak.origin}/mcp").findings
    assert [finding.seen for finding in findings if finding.id == "M2"] == ["the handshake only"]
    weak.reset()
    weak.holes |= {"open", "guessable session"}
    assert ("T89", "medium") in {(f.id, str(f.severity)) for f in probe(f"{weak.origin}/mcp").findings}
