"""Each planted hole is found, and nothing else; once it is fixed, the finding is gone."""

import pytest

from tests.audit.probe.weak import WeakServer
from workshop.audit.probe.report import probe

HOLES = {
    "open": {("R8", "low")},
    "open announcing": {("R8", "high")},
    "open initialize": {("R8", "high")},
    "open stream": {("R8", "high")},
    "403": {("R4", "medium")},
    "no challenge": {("R2", "medium"), ("R4t", "low")},
    "bare challenge": {("R2", "low")},
    "no scope": {("R3", "low")},
    "error without a token": {("T78", "low")},
    "any token": {("T84", "high"), ("T80", "high")},
    "alg none": {("T80", "high")},
    "no error for a bad token": {("R4t", "low")},
    "token in query is read": {("T85", "medium")},
    "token in query is accepted": {("T85", "high"), ("T80", "high")},
    "no prm": {("R1", "medium")},
    "no issuer": {("R1", "medium")},
    "prm at the root only": {("R1p", "info")},
    "other resource": {("T102", "medium")},
    "query method": {("R7", "medium")},
    "offline access": {("R12", "low")},
    "no metadata": {("A2", "medium")},
    "no token endpoint": {("A2", "medium")},
    "slash behind the issuer": {("A2i", "medium")},
    "no pkce": {("A3", "high")},
    "plain pkce": {("T10", "medium")},
    "no public clients": {("A1", "low")},
    "no iss": {("A11", "low")},
    "no registration": {("A9", "low")},
    "no revocation": {("T87", "low")},
    "password grant": {("T68", "medium")},
    "implicit grant": {("T68", "medium")},
    "grants left out": {("T68", "low")},
    "plain http": {("A6", "high")},
    "any redirect": {("T66", "high")},
    "registration crashes": {("T66", "medium"), ("H1", "medium")},
    "any grant": {("T50", "high"), ("T51", "low")},
    "token page": {("T50", "low")},
    "json": {("T51", "low")},
    "stored token answers": {("T61", "low")},
    "stored registration": {("T61r", "low")},
    "open redirect": {("T01", "high")},
    "straight to the upstream": {("T01", "medium")},
    "consent for anybody": {("T01", "medium")},
    "framed": {("T25", "medium")},
    "referrer": {("T25h", "low")},
    "any origin": {("R9", "medium")},
    "any host": {("T90", "medium")},
    "cors": {("T91", "low"), ("R9", "medium")},
    "stack trace": {("H1", "medium"), ("T50", "medium"), ("T51", "low")},
    "sniffed": {("H2", "info")},
    "version": {("H3", "info")},
    "open cookie": {("T40", "low")},
    "page for get": {("M1", "low")},
}


def findings(weak: WeakServer) -> set[tuple[str, str]]:
    report = probe(f"{weak.origin}/mcp")
    return {(finding.id, str(finding.severity)) for finding in report.findings}


@pytest.mark.parametrize("hole", HOLES)
def test_the_hole_is_found_and_nothing_else(weak: WeakServer, hole: str) -> None:
    weak.holes.add(hole)
    assert findings(weak) == HOLES[hole]
    weak.reset()
    assert findings(weak) == set()
