"""The transport: what GET answers, and which eras of the protocol are spoken."""

from workshop.audit.probe.evidence import UNAUTHORIZED, Evidence
from workshop.audit.probe.verdicts import Check, Found, Passed, Severity, Unknown, Verdict

_NOT_ALLOWED, _OK, _FAILURE = 405, 200, 500


def get_answered(seen: Evidence) -> Verdict:
    answer = seen.mcp.get
    if answer is None:
        return Unknown("no answer")
    stream = answer.status == _OK and answer.media_type == "text/event-stream"
    refused = answer.status in {UNAUTHORIZED, _NOT_ALLOWED} or (
        answer.speaks_mcp and answer.status < _FAILURE
    )
    if stream or refused:
        return Passed(f"{answer.status} {answer.media_type}".strip())
    if seen.refusal is not None and answer.status == seen.refusal.status:
        return Passed(f"{answer.status}, as without a token")
    return Found(Severity.LOW, f"{answer.status} {answer.media_type}".strip())


def both_eras(seen: Evidence) -> Verdict:
    if seen.guarded:
        return Unknown("the server wants a token first")
    modern = seen.mcp.discover.result
    handshake = seen.mcp.initialize is not None and seen.mcp.initialize.result
    if modern and handshake:
        return Passed("2026-07-28 and the handshake")
    if modern:
        return Found(Severity.INFO, "2026-07-28 only")
    return Found(Severity.INFO, "the handshake only" if handshake else "neither era answered with a result")


CHECKS = (
    Check(
        "M1",
        "GET is a stream, or refused as the protocol says",
        "Clients take another answer for a broken server.",
        "Answer GET with `text/event-stream` in the handshake era, else with 405; without a token with 401.",
        get_answered,
    ),
    Check(
        "M2",
        "Both eras of the protocol are spoken",
        "Clients of the other era cannot use the server.",
        "Update the SDK: current ones speak 2026-07-28 and the handshake of 2025-11-25 at one address.",
        both_eras,
    ),
)
