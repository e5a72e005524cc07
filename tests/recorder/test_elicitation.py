"""Calls that wait for a person: in both eras, for as long as they take, wherever a link has its secret."""

import json
from typing import Any

import pytest

from workshop.recorder import files
from workshop.recorder.build import build_trace
from workshop.recorder.masking import Labels, masked_url
from workshop.recorder.model import Outcome, Request, Subject, Trace
from workshop.recorder.recorder import Recorder

SERVER = "http://localhost:1/mcp"
ID = "Zm9yLXRoZS10ZXN0LWFsb25lLTEyMw"
LINK = f"http://localhost:1/connect/{ID}"
ASKED = {"mode": "url", "elicitationId": ID, "url": LINK, "message": f"Please go to {LINK} " + "now " * 70}
LEGACY = {"error": {"code": -32042, "message": f"at {LINK}", "data": {"elicitations": [ASKED]}}}
MODERN = {"result": {"inputRequests": {"x": {"method": "elicitation/create", "params": ASKED}}}}
DONE = {"result": {"content": [{"type": "text", "text": "done"}]}}


def call(at: float, answer: dict[str, Any], ended: float, tool: str = "who") -> Request:
    """A tool call and its answer."""
    request = Request("agent", "POST", SERVER, at, status=200, answered=ended, ended=ended)
    request.request_headers = [
        ("content-type", "application/json"),
        ("authorization", "Bearer sample-of-a-token"),
    ]
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {}}}
    request.request_body = json.dumps(asked).encode()
    request.response_headers = [("content-type", "application/json")]
    request.body += json.dumps({"jsonrpc": "2.0", "id": 1, **answer}).encode()
    return request


def browsed(at: float, url: str, method: str = "GET") -> Request:
    return Request("browser", method, url, at, status=200, answered=at, ended=at)


def trace_of(*requests: Request) -> Trace:
    recorder = Recorder()
    recorder.requests += requests
    return build_trace(recorder, Subject("x", "http://localhost:2"), Outcome("failed", f"at {LINK}"), [])


@pytest.mark.parametrize("asking", [LEGACY, MODERN], ids=["2025-11-25", "2026-07-28"])
def test_a_link_is_named_and_its_secret_is_not(asking: dict[str, Any]) -> None:
    trace = trace_of(call(0, asking, 0.1), browsed(1, LINK), browsed(2, LINK, "POST"), call(3, DONE, 4))
    assert [(step.phase, step.kind) for step in trace.steps] == [
        ("calls", "mcp"),
        ("visit", "visit"),
        ("visit", "connect"),
        ("calls", "mcp"),
    ]
    answer = dict(trace.steps[0].facts)["answer"]
    assert not any("browser" in text for text in trace.unseen)
    assert answer.startswith("please open http://localhost:1/connect/⟨link-1⟩: Please go to ")
    assert trace.steps[1].path == "/connect/⟨link-1⟩"
    assert trace.steps[3].title == "The tool who is called again"
    for ending, writer in files.WRITERS.items():
        assert ID[:12] not in writer(trace), ending


def test_a_call_that_is_repeated_while_the_person_is_away_belongs_to_the_elicitation() -> None:
    trace = trace_of(call(0, LEGACY, 0.1), call(1, LEGACY, 1.1), call(2, DONE, 2.1), call(3, DONE, 3.1))
    assert [step.phase for step in trace.steps] == ["calls", "visit", "calls", "calls"]
    assert "has not finished" in trace.steps[1].sentence
    assert "The requests of the person's browser" in trace.unseen[-1]
    assert [step.title for step in trace.steps[2:]] == [
        "The tool who is called again",
        "The tool who is called",
    ]


def test_what_a_person_does_while_the_repeated_call_is_open_belongs_to_the_elicitation() -> None:
    trace = trace_of(call(0, MODERN, 0.1), call(1, DONE, 9), browsed(2, LINK), call(10, DONE, 11, "other"))
    assert [step.phase for step in trace.steps] == ["calls", "calls", "visit", "calls"]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/connect/dGhpcy1pcy1hLXNlY3JldC0x", "/connect/⟨link-1⟩"),
        ("/connect/0f8fad5b-d9cb-469f-a165-70867728950e/", "/connect/⟨link-1⟩/"),
        ("/.well-known/oauth-authorization-server/mcp", None),
        ("/repos/learner/My-Long-Repository-Name-2026/issues", None),
    ],
)
def test_a_path_shows_words_and_no_secrets(path: str, shown: str | None) -> None:
    assert masked_url(f"http://h{path}", Labels()) == f"http://h{shown or path}"
