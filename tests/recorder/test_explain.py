"""`workshop trace explain`: the whole text, and the same as JSON."""

import json
import re
from pathlib import Path

from inline_snapshot import external_file

from tests.cli.conftest import Workshop

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
