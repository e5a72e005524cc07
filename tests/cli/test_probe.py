"""`workshop probe`: its output, its exit codes, and what cannot be probed."""

import json
import socket
from collections.abc import Iterator

import pytest

from tests.audit.probe.conftest import running_weak_server, weak
from tests.audit.probe.weak import WeakServer
from tests.cli.conftest import Workshop
from workshop.audit.probe.exchange import Exchange
from workshop.core.ports import free_port

__all__ = ["running_weak_server", "weak"]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])


def test_findings_come_as_a_table_with_how_to_mend_them_below(workshop: Workshop, weak: WeakServer) -> None:
    weak.holes |= {"no pkce", "no scope"}
    outcome = workshop("probe", f"{weak.origin}/mcp")
    assert outcome.code == 6
    assert outcome.out.startswith("Findings: 1 high, 1 low; ")
    places = [
        outcome.out.index(text) for text in ("high ", "A3 ", "low ", "R3 ", "Require PKCE", "Add scope")
    ]
    assert places == sorted(places)
    assert "passed   " not in outcome.out


def test_a_low_finding_alone_is_no_failure(workshop: Workshop, weak: WeakServer) -> None:
    weak.holes.add("no scope")
    assert workshop("probe", f"{weak.origin}/mcp").code == 0


def test_what_passed_is_counted_and_listed_on_request(workshop: Workshop, weak: WeakServer) -> None:
    outcome = workshop("probe", f"{weak.origin}/mcp", "--all")
    assert outcome.code == 0
    assert outcome.out.startswith("No finding; ")
    assert outcome.out.count("passed     ") >= 38
    assert "unknown    M2" in outcome.out


def test_json_has_every_finding_with_its_meaning_and_all_requests(
    workshop: Workshop, weak: WeakServer
) -> None:
    weak.holes.add("open redirect")
    outcome = workshop("probe", f"{weak.origin}/mcp", "--json")
    document = json.loads(outcome.out)
    assert (outcome.code, document["version"], document["status"]) == (6, 1, "error")
    (finding,) = document["data"]["findings"]
    assert (finding["id"], finding["severity"]) == ("T01", "high")
    assert finding["seen"] == "an unregistered client's browser is redirected to evil.example"
    assert finding["meaning"]
    assert finding["mend"]
    assert document["data"]["requests"][0] == f"POST {weak.origin}/mcp"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "ftp://localhost/mcp",
        "javascript:alert(1)",
        "http://",
        "http://[::1/",
        "http://a b/",
        "http://é..example/mcp",
        "http://localhost:99999/mcp",
        "http://localhost:8080/\x1b[31m",
        "http://me:pass@localhost/mcp",
        "ftp://me:pass@localhost/mcp",
        "http://localhost/mcp?a=b",
        "http://localhost/mcp#a",
    ],
)
def test_what_is_no_address_of_a_server_is_a_usage_error(workshop: Workshop, url: str) -> None:
    outcome = workshop("probe", url)
    assert outcome.code == 2
    assert "\x1b" not in outcome.err
    assert "me:pass" not in outcome.err


def test_nobody_there_is_exit_code_3(workshop: Workshop) -> None:
    outcome = workshop("probe", f"http://localhost:{free_port()}/mcp")
    assert outcome.code == 3
    assert "cannot be reached" in outcome.err


def test_no_answer_is_exit_code_5(
    workshop: Workshop, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Exchange, "answer_seconds", 0.2)
    assert workshop("probe", f"http://127.0.0.1:{silent_port}/mcp").code == 5


def test_tls_where_there_is_none_is_reported(workshop: Workshop, weak: WeakServer) -> None:
    outcome = workshop("probe", f"{weak.origin.replace('http', 'https')}/mcp")
    assert outcome.code == 1
    assert "No secure connection" in outcome.err


def test_a_page_that_is_no_server_is_reported(workshop: Workshop, weak: WeakServer) -> None:
    outcome = workshop("probe", f"{weak.origin}/page")
    assert outcome.code == 1
    assert "No MCP server answers" in outcome.err


def test_a_server_that_redirects_elsewhere_is_not_followed(workshop: Workshop, weak: WeakServer) -> None:
    weak.holes.add("moved away")
    outcome = workshop("probe", f"{weak.origin}/mcp")
    assert outcome.code == 1
    assert "other.example" in outcome.err
