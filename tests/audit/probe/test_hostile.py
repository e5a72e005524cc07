"""A server that answers nonsense gets findings, never a traceback."""

import pytest

from tests.audit.probe.weak import WeakServer
from workshop.audit.probe.report import probe
from workshop.core.errors import WorkshopError
from workshop.core.text import plain

NONSENSE: list[object] = [
    None,
    5,
    -1e308,
    [],
    [None],
    [["S256"]],
    {"a": {}},
    "\ud800",
    ["http://\ud800.example/"],
    "http://[",
    ["http://localhost:99999/"],
    ["http://localhost\\@evil.example/"],
    "\x1b[31m" * 100,
    "http://localhost:1/" + "a" * 70_000,
]


@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: ascii(value)[:30])
@pytest.mark.parametrize("hole", ["own issuer", "their issuer"])
def test_nonsense_in_the_metadata_is_a_finding(weak: WeakServer, hole: str, value: object) -> None:
    weak.holes.add(hole)
    weak.nonsense.append(value)
    report = probe(f"{weak.origin}/mcp")
    assert report.failed
    for text in [*(found.seen for found in report.findings), *(remark.seen for remark in report.passed)]:
        assert len(text) <= 300
        plain(text).encode()
    assert {request.headers["host"] for request in weak.requests} <= {weak.origin[7:], "evil.example"}


def test_an_unreadable_redirect_is_undecided(weak: WeakServer) -> None:
    weak.holes.add("broken redirect")
    assert {remark.id for remark in probe(f"{weak.origin}/mcp").undecided} >= {"T01"}
    weak.holes.add("moved to nowhere")
    with pytest.raises(WorkshopError, match="redirects to another address"):
        probe(f"{weak.origin}/mcp")
