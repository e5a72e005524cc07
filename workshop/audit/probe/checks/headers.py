"""Headers and failures, over all answers."""

import re

from workshop.audit.probe.evidence import Evidence
from workshop.audit.probe.verdicts import Check, Found, Passed, Severity, Verdict

_FAILURE = 500
_VERSION = re.compile(r"\d+\.\d+")
_TELLING = ("server", "x-powered-by", "x-aspnet-version", "x-generator")
_TRACES = ("Traceback (most recent call last)", "\n    at ", "goroutine 1 [", "panic: ")


def no_failures(seen: Evidence) -> Verdict:
    failed = [answer for answer in seen.answers() if answer.status >= _FAILURE]
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


CHECKS = (
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
)
