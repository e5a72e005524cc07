"""The transport: foreign Origin and Host, response headers, server errors, GET and protocol versions."""

import re

from workshop.audit.probe.evidence import UNAUTHORIZED, Answer, Evidence
from workshop.audit.probe.requests import EVIL_HOST, EVIL_ORIGIN
from workshop.audit.probe.verdicts import Check, Found, Passed, Severity, Unknown, Verdict

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


_SERVER_ERROR = 500
_VERSION = re.compile(r"\d+\.\d+")
_TELLING = ("server", "x-powered-by", "x-aspnet-version", "x-generator")
_TRACES = ("Traceback (most recent call last)", "\n    at ", "goroutine 1 [", "panic: ")


def no_failures(seen: Evidence) -> Verdict:
    failed = [answer for answer in seen.answers() if answer.status >= _SERVER_ERROR]
    traces = [answer for answer in seen.answers() if any(trace in answer.text for trace in _TRACES)]
    if traces:
        return Found(Severity.MEDIUM, f"{traces[0].request} shows a stack trace ({traces[0].status})")
    if failed:
        return Found(Severity.MEDIUM, f"{failed[0].request} failed ({failed[0].status})")
    return Passed("no answer of 500 or more")


def nosniff(seen: Evidence) -> Verdict:
    lacking = [
        answer
        for answer in seen.answers()
        if answer.text and answer.header("x-content-type-options").lower() != "nosniff"
    ]
    if lacking:
        return Found(Severity.INFO, f"missing in {len(lacking)} answers, such as {lacking[0].request}")
    return Passed("in every answer")


def no_versions(seen: Evidence) -> Verdict:
    for answer in seen.answers():
        for name in _TELLING:
            value = answer.header(name)
            if _VERSION.search(value):
                return Found(Severity.INFO, f"`{name}: {value[:80]}`")
    return Passed("none told")


def strict_transport(seen: Evidence) -> Verdict:
    if seen.target.parts.scheme != "https" or seen.target.loopback:
        return None
    value = seen.mcp.discover.header("strict-transport-security")
    return Passed(value) if value else Found(Severity.LOW, "no `Strict-Transport-Security`")


def cookies(seen: Evidence) -> Verdict:
    found = [
        value for answer in seen.answers() for name, value in answer.headers if name.lower() == "set-cookie"
    ]
    if not found:
        return None
    wanted = {"httponly", "samesite"} | ({"secure"} if seen.target.parts.scheme == "https" else set())
    for cookie in found:
        attributes = {part.partition("=")[0].strip().lower() for part in cookie.split(";")[1:]}
        if wanted - attributes:
            name = cookie.partition("=")[0][:40]
            return Found(Severity.LOW, f"the cookie `{name}` lacks {', '.join(sorted(wanted - attributes))}")
    return Passed("every cookie is protected")


_NOT_ALLOWED, _OK = 405, 200


def get_answered(seen: Evidence) -> Verdict:
    answer = seen.mcp.get
    if answer is None:
        return Unknown("no answer")
    stream = answer.status == _OK and answer.media_type == "text/event-stream"
    refused = answer.status in {UNAUTHORIZED, _NOT_ALLOWED} or (
        answer.speaks_mcp and answer.status < _SERVER_ERROR
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
    Check(
        "H1",
        "What must be refused is refused, without failing",
        "Unforeseen input reaches the program; a stack trace tells an attacker how to go on.",
        "Check the input, answer 4xx, and turn what is left into a bare 500.",
        no_failures,
    ),
    Check(
        "H2",
        "Content types are not guessed",
        "A browser may take an answer for a page and run what is in it.",
        "Send `X-Content-Type-Options: nosniff` with every answer.",
        nosniff,
    ),
    Check(
        "H3",
        "Software versions are not told",
        "It saves an attacker the search for known holes.",
        "Turn the version in `Server` and `X-Powered-By` off.",
        no_versions,
    ),
    Check(
        "H4",
        "Browsers are told to stay on https",
        "The first visit over http can be intercepted.",
        "Send `Strict-Transport-Security: max-age=31536000`.",
        strict_transport,
    ),
    Check(
        "T40",
        "Cookies are protected",
        "Scripts or other sites can use the cookie.",
        "Set HttpOnly, SameSite=Lax, Secure with https, and the `__Host-` prefix.",
        cookies,
    ),
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
