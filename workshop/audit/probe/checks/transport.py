"""The transport: foreign Origin and Host headers, response headers, failures, GET and protocol versions."""

import re

from workshop.audit.probe.model import (
    EVIL_HOST,
    EVIL_ORIGIN,
    UNAUTHORIZED,
    Answer,
    Checks,
    Evidence,
    Found,
    Passed,
    Severity,
    Unknown,
    Verdict,
)

CHECKS = Checks()
_REFUSALS = {400, 403, 404, 421}  # 403 is MCP's for Origin, 421 the SDKs' for Host
_UNASKED = "no answer; the server may have closed the connection on purpose"


@CHECKS.add(
    "R9",
    "A foreign Origin is refused",
    "Any web page that a user opens can use the server (MCP transports: an invalid Origin gets 403).",
    "Compare the Origin header, if there is one, with your own list; answer 403.",
)
def origin_checked(evidence: Evidence) -> Verdict:
    return _foreign(evidence, evidence.mcp.origin, "Origin")


@CHECKS.add(
    "T90",
    "A foreign Host is refused",
    "With DNS rebinding, a web page gets the same origin as the server; and URLs that are made from the "
    "Host header send clients to the attacker.",
    "Compare the Host header with your own list, answer 421, and make URLs from configuration.",
)
def host_checked(evidence: Evidence) -> Verdict:
    answer = evidence.mcp.host
    if answer is not None and (EVIL_HOST in answer.header("www-authenticate") or EVIL_HOST in answer.text):
        return Found(Severity.MEDIUM, f"the answer repeats the Host {EVIL_HOST} of the request")
    return _foreign(evidence, answer, "Host")


def _foreign(evidence: Evidence, answer: Answer | None, header: str) -> Verdict:
    if answer is None:
        return Unknown(_UNASKED)
    if answer.result:
        severity = Severity.HIGH if evidence.target.loopback else Severity.MEDIUM
        return Found(severity, f"a request with {header} {EVIL_HOST} is carried out")
    # If it equals the answer without the header, the refusal is about the missing token.
    if answer.status in _REFUSALS and answer.gist != (evidence.refusal or evidence.mcp.discover).gist:
        return Passed(f"{answer.status}")
    if evidence.refusal is not None and answer.status == evidence.refusal.status:
        # A token is the first defence; and a server on a network is not reached by DNS rebinding.
        severity = Severity.MEDIUM if evidence.target.loopback else Severity.LOW
        return Found(
            severity,
            f"{header} {EVIL_HOST} makes no difference; only the token is checked ({answer.status})",
        )
    return Unknown(f"{answer.status}, which may have other reasons")


@CHECKS.add(
    "T91",
    "Foreign web pages get no CORS permission",
    "Scripts of other sites can read the responses.",
    "Send no CORS headers, or allow the origins of web clients that you know, one by one.",
)
def no_foreign_cors(evidence: Evidence) -> Verdict:
    answers = [answer for answer in (evidence.mcp.preflight, evidence.mcp.origin) if answer is not None]
    if not answers:
        return Unknown(_UNASKED)
    allowed = {answer.header("access-control-allow-origin") for answer in answers} & {EVIL_ORIGIN, "*"}
    if not allowed:
        return Passed("no `Access-Control-Allow-Origin`")
    cookies = any(answer.header("access-control-allow-credentials").lower() == "true" for answer in answers)
    origin = allowed.pop()
    if not evidence.guarded:
        severity = Severity.HIGH if evidence.target.loopback else Severity.MEDIUM
    else:
        # With `*`, a page cannot read the answer to a request with cookies, and it has no token.
        severity = Severity.MEDIUM if cookies or origin == EVIL_ORIGIN else Severity.LOW
    return Found(severity, f"allows {origin}{' with credentials' if cookies else ''}")


_SERVER_ERROR = 500
_VERSION = re.compile(r"\d+\.\d+")
_VERSIONED_HEADERS = ("server", "x-powered-by", "x-aspnet-version", "x-generator")
# The stack traces of Python, of JavaScript and Java, and of Go.
_TRACES = ("Traceback (most recent call last)", "\n    at ", "goroutine 1 [", "panic: ")


@CHECKS.add(
    "H1",
    "Invalid requests are refused without a server error",
    "Unexpected input reaches the program, and a stack trace helps an attacker.",
    "Check the input, answer 4xx, and answer any other failure with a 500 without details.",
)
def no_failures(evidence: Evidence) -> Verdict:
    failed = [answer for answer in evidence.answers() if answer.status >= _SERVER_ERROR]
    traces = [answer for answer in evidence.answers() if any(trace in answer.text for trace in _TRACES)]
    if traces:
        return Found(Severity.MEDIUM, f"{traces[0].request} shows a stack trace ({traces[0].status})")
    if failed:
        return Found(Severity.MEDIUM, f"{failed[0].request} failed ({failed[0].status})")
    return Passed("no answer of 500 or more")


@CHECKS.add(
    "H2",
    "Content types are not guessed",
    "A browser may treat a response as a page and run its scripts.",
    "Send `X-Content-Type-Options: nosniff` with every response.",
)
def nosniff(evidence: Evidence) -> Verdict:
    lacking = [
        answer
        for answer in evidence.answers()
        if answer.text and answer.header("x-content-type-options").lower() != "nosniff"
    ]
    if lacking:
        return Found(Severity.INFO, f"missing in {len(lacking)} responses, such as {lacking[0].request}")
    return Passed("in every response")


@CHECKS.add(
    "H3",
    "Software versions are not shown",
    "An attacker can look up the known vulnerabilities of that version.",
    "Remove the version from `Server` and `X-Powered-By`.",
)
def no_versions(evidence: Evidence) -> Verdict:
    for answer in evidence.answers():
        for name in _VERSIONED_HEADERS:
            value = answer.header(name)
            if _VERSION.search(value):
                return Found(Severity.INFO, f"`{name}: {value[:80]}`")
    return Passed("none shown")


@CHECKS.add(
    "H4",
    "Browsers are required to use https",
    "A request over http can be intercepted.",
    "Send `Strict-Transport-Security: max-age=31536000`.",
)
def strict_transport(evidence: Evidence) -> Verdict:
    # The header must not be sent over plain http (RFC 6797 section 7.2).
    if evidence.target.parts.scheme != "https" or evidence.target.loopback:
        return None
    value = evidence.mcp.discover.header("strict-transport-security")
    return Passed(value) if value else Found(Severity.LOW, "no `Strict-Transport-Security`")


@CHECKS.add(
    "T40",
    "Cookies are protected",
    "Scripts or other sites can use the cookie.",
    "Set HttpOnly, SameSite=Lax, Secure with https, and the `__Host-` prefix.",
)
def cookies(evidence: Evidence) -> Verdict:
    headers = [header for answer in evidence.answers() for header in answer.headers]
    found = [value for name, value in headers if name.lower() == "set-cookie"]
    if not found:
        return None
    # Over http, browsers refuse to store a cookie with Secure, some of them on localhost too.
    wanted = {"httponly", "samesite"} | ({"secure"} if evidence.target.parts.scheme == "https" else set())
    for cookie in found:
        attributes = {part.partition("=")[0].strip().lower() for part in cookie.split(";")[1:]}
        if wanted - attributes:
            name = cookie.partition("=")[0][:40]
            return Found(Severity.LOW, f"the cookie `{name}` lacks {', '.join(sorted(wanted - attributes))}")
    return Passed("every cookie is protected")


_NOT_ALLOWED, _OK = 405, 200


@CHECKS.add(
    "M1",
    "GET opens a stream, or is refused as the protocol requires",
    "Clients treat any other answer as a broken server.",
    "Answer GET with `text/event-stream` in 2025-11-25, otherwise with 405; without a token with 401.",
)
def get_answered(evidence: Evidence) -> Verdict:
    answer = evidence.mcp.get
    if answer is None:
        return Unknown("no answer")
    stream = answer.status == _OK and answer.media_type == "text/event-stream"
    refused = answer.status in {UNAUTHORIZED, _NOT_ALLOWED} or (
        answer.speaks_mcp and answer.status < _SERVER_ERROR
    )
    if stream or refused:
        return Passed(f"{answer.status} {answer.media_type}".strip())
    if evidence.refusal is not None and answer.status == evidence.refusal.status:
        return Passed(f"{answer.status}, as without a token")
    return Found(Severity.LOW, f"{answer.status} {answer.media_type}".strip())


@CHECKS.add(
    "M2",
    "Both generations of the protocol are supported",
    "Clients of the other generation cannot use the server.",
    "Update the SDK: current ones support 2026-07-28 and the handshake of 2025-11-25 at one URL.",
)
def both_eras(evidence: Evidence) -> Verdict:
    if evidence.guarded and evidence.signed is None:
        return Unknown("the server requires a token first")
    asked = evidence.signed or evidence.mcp
    modern = asked.discover is not None and asked.discover.result
    handshake = asked.initialize is not None and asked.initialize.result
    if modern and handshake:
        return Passed("2026-07-28, and the handshake of 2025-11-25")
    if modern:
        return Found(Severity.INFO, "2026-07-28 only")
    return Found(Severity.INFO, "the handshake only" if handshake else "neither era answered with a result")
