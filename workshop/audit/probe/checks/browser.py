"""Web pages of others: a server on this machine is reachable from every page its user opens."""

from workshop.audit.probe.evidence import Answer, Evidence
from workshop.audit.probe.verdicts import Check, Found, Passed, Severity, Unknown, Verdict
from workshop.audit.probe.worthless import EVIL_HOST, EVIL_ORIGIN

_REFUSALS = {400, 403, 404, 421}
_UNASKED = "no answer; the connection may have been closed on purpose"


def origin_checked(seen: Evidence) -> Verdict:
    return _foreign(seen, seen.mcp.origin, "Origin")


def host_checked(seen: Evidence) -> Verdict:
    answer = seen.mcp.host
    if answer is not None and (EVIL_HOST in answer.header("www-authenticate") or EVIL_HOST in answer.text):
        return Found(Severity.MEDIUM, f"the answer repeats the Host {EVIL_HOST} that it was sent")
    return _foreign(seen, answer, "Host")


def _foreign(seen: Evidence, answer: Answer | None, header: str) -> Verdict:
    if answer is None:
        return Unknown(_UNASKED)
    if answer.result:
        severity = Severity.HIGH if seen.target.loopback else Severity.MEDIUM
        return Found(severity, f"the request is answered with {header} {EVIL_HOST}")
    if answer.status in _REFUSALS and answer.gist != (seen.refusal or seen.mcp.discover).gist:
        return Passed(f"{answer.status}")
    if seen.refusal is not None and answer.status == seen.refusal.status:
        # Behind a token it is the second line of defence, and off this machine rebinding gains nothing.
        severity = Severity.MEDIUM if seen.target.loopback else Severity.LOW
        return Found(
            severity,
            f"{header} {EVIL_HOST} makes no difference; only the token is asked for ({answer.status})",
        )
    return Unknown(f"{answer.status}, which may have other reasons")


def no_foreign_cors(seen: Evidence) -> Verdict:
    answers = [answer for answer in (seen.mcp.preflight, seen.mcp.origin) if answer is not None]
    if not answers:
        return Unknown(_UNASKED)
    allowed = {answer.header("access-control-allow-origin") for answer in answers} & {EVIL_ORIGIN, "*"}
    if not allowed:
        return Passed("no `Access-Control-Allow-Origin`")
    cookies = any(answer.header("access-control-allow-credentials").lower() == "true" for answer in answers)
    origin = allowed.pop()
    if not seen.guarded:
        severity = Severity.HIGH if seen.target.loopback else Severity.MEDIUM
    else:
        severity = Severity.MEDIUM if cookies or origin == EVIL_ORIGIN else Severity.LOW
    return Found(severity, f"allows {origin}{' with credentials' if cookies else ''}")


CHECKS = (
    Check(
        "R9",
        "A foreign Origin is refused",
        "Any web page that a user opens can talk to the server (MCP transports: an invalid Origin gets 403).",
        "Compare Origin, where there is one, with a list of your own; answer 403.",
        origin_checked,
    ),
    Check(
        "T90",
        "A foreign Host is refused",
        "By DNS rebinding a web page becomes same-origin with the server; and what is built from the Host "
        "header leads clients elsewhere.",
        "Compare Host with a list of your own, answer 421, and build addresses from configuration.",
        host_checked,
    ),
    Check(
        "T91",
        "Foreign web pages get no CORS permission",
        "Scripts of other sites may read the answers.",
        "Leave CORS headers out, or allow the origins of web clients that you know, one by one.",
        no_foreign_cors,
    ),
)
