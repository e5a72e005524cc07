"""The authorization server's endpoints: each gets a request that it must refuse."""

from workshop.audit.probe.model import (
    EVIL_CALLBACK,
    EVIL_HOST,
    Answer,
    Checks,
    Evidence,
    Found,
    Passed,
    Severity,
    Unknown,
    Verdict,
    host_of,
    joined,
)

CHECKS = Checks()
_UNASKED = "not requested, or no answer"
_SUCCESSES, _REDIRECTS = range(200, 300), range(300, 400)
_FAILURES, _CRASHES = range(400, 500), range(500, 600)
_TOO_MANY = 429


@CHECKS.add(
    "T66",
    "A redirect URI with plain http on another machine is refused",
    "Codes can be sent to anyone: one registration and one careless click are enough.",
    "Register https redirect URIs, and http on loopback only; refuse others with `invalid_redirect_uri`.",
)
def evil_redirect_refused(evidence: Evidence) -> Verdict:
    if evidence.metadata is None or not evidence.metadata.get("registration_endpoint"):
        return None
    answer = evidence.server.registration if evidence.server else None
    if evidence.server is None or answer is None:
        return Unknown(_UNASKED)
    if answer.status == _TOO_MANY:
        return Unknown("429: too many registrations")
    if answer.status in _FAILURES:
        return Passed(f"{answer.status} {answer.gist[1]}".strip())
    # A failure is not a check of the redirect URI: another one may get through.
    if answer.status in _CRASHES:
        return Found(Severity.MEDIUM, f"{answer.status} instead of a refusal")
    client, deletion = answer.document.get("client_id"), evidence.server.unregistration
    deleted = deletion is not None and deletion.status in _SUCCESSES
    rest = "the client was deleted again" if deleted else f"client {str(client)[:60]!r} remains registered"
    return Found(Severity.HIGH, f"{EVIL_CALLBACK} was registered ({answer.status}); {rest}")


@CHECKS.add(
    "T50",
    "An unknown grant type is refused",
    "The token endpoint does not check the grant type.",
    "Answer 400 with `unsupported_grant_type` as JSON (RFC 6749 section 5.2).",
)
def unknown_grant_refused(evidence: Evidence) -> Verdict:
    if evidence.metadata is None:
        return None
    answer = evidence.server.token_form if evidence.server else None
    if answer is None:
        return Unknown(_UNASKED)
    if answer.status in _FAILURES:
        if "error" in answer.document:
            return Passed(f"{answer.status} {answer.gist[1]}")
        return Found(Severity.LOW, f"{answer.status} without an OAuth error")
    severity = Severity.MEDIUM if answer.status in _CRASHES else Severity.HIGH
    return Found(severity, f"{answer.status} for a grant type that does not exist")


@CHECKS.add(
    "T51",
    "The token endpoint reads forms only",
    "Each further format is a further way past a filter, and JSON has no rule for repeated names.",
    "Refuse bodies that are not `application/x-www-form-urlencoded`.",
)
def json_refused(evidence: Evidence) -> Verdict:
    """A server that reads JSON refuses it for the same reason as a form with the same content."""
    if evidence.metadata is None or evidence.server is None:
        return None
    form, body = evidence.server.token_form, evidence.server.token_json
    if form is None or body is None:
        return Unknown(_UNASKED)
    if body.status not in _FAILURES:
        return Found(Severity.LOW, f"{body.status} for a JSON body")
    # A server gives these errors before it reads the grant type, so equal ones do not show anything.
    if body.gist == form.gist and body.gist[1] not in {"", "invalid_client", "invalid_request"}:
        return Found(Severity.LOW, f"a JSON body is read like a form: {body.gist[1]}")
    return Passed(f"{body.status} {body.gist[1]}".strip())


@CHECKS.add(
    "T61",
    "Token responses are not stored",
    "A cache between client and server may store tokens.",
    "Send `Cache-Control: no-store` with every response of the token endpoint, including errors.",
)
def token_answers_unstored(evidence: Evidence) -> Verdict:
    return _unstored(evidence.server.token_form if evidence.server else None)


@CHECKS.add(
    "T61r",
    "Registration responses are not stored",
    "A cache may store client secrets.",
    "Send `Cache-Control: no-store` with every response of the endpoint (RFC 7591 section 3.2.1).",
)
def registration_answers_unstored(evidence: Evidence) -> Verdict:
    return _unstored(evidence.server.registration if evidence.server else None)


def _unstored(answer: Answer | None) -> Verdict:
    if answer is None:
        return None
    control = answer.header("cache-control")
    if "no-store" in control.lower():
        return Passed(control)
    return Found(Severity.LOW, f"`Cache-Control` is {control!r}" if control else "no `Cache-Control`")


@CHECKS.add(
    "T01",
    "An unregistered client gets an error page and not a redirect",
    "It is an open redirector under your name, and half of an attack on codes (RFC 9700 section 4.11).",
    "Check the client id and the redirect URI before anything else, and answer with a 400 page.",
)
def no_open_redirect(evidence: Evidence) -> Verdict:
    if evidence.metadata is None or not evidence.metadata.get("authorization_endpoint"):
        return None
    answer = evidence.server.authorize if evidence.server else None
    if answer is None:
        return Unknown(_UNASKED)
    if answer.status in _REDIRECTS:
        return _redirected(answer)
    if answer.status in _FAILURES:
        return Passed(f"{answer.status}, no redirect")
    if EVIL_HOST in answer.text:
        return Found(Severity.MEDIUM, f"a page that links to {EVIL_HOST} for an unregistered client")
    return Unknown(f"{answer.status}: a page, perhaps the sign-in")


def _redirected(answer: Answer) -> Verdict:
    target = joined(answer.url, answer.header("location"))
    if host_of(target) == EVIL_HOST:
        return Found(Severity.HIGH, f"an unregistered client's browser is redirected to {EVIL_HOST}")
    if not target:
        return Unknown("a redirect to an address that cannot be read")
    if host_of(target) == host_of(answer.url):
        return Unknown("redirects to another page of its own, perhaps the sign-in")
    return Found(Severity.MEDIUM, f"an unregistered client's request is redirected to {host_of(target)[:80]}")


def _page(evidence: Evidence) -> Answer | None:
    answer = evidence.server.authorize if evidence.server else None
    # Headers for pages do not matter for JSON and redirects.
    return answer if answer is not None and answer.media_type == "text/html" else None


@CHECKS.add(
    "T25",
    "Its pages cannot be framed",
    "Another site can place the approval page beneath its own buttons (clickjacking).",
    "Send `Content-Security-Policy: frame-ancestors 'none'` and `X-Frame-Options: DENY` with each page.",
)
def not_framed(evidence: Evidence) -> Verdict:
    answer = _page(evidence)
    if answer is None:
        return None
    policy = answer.header("content-security-policy").lower()
    if "frame-ancestors" in policy or answer.header("x-frame-options"):
        return Passed("framing is forbidden")
    return Found(Severity.MEDIUM, "neither `frame-ancestors` nor `X-Frame-Options`")


@CHECKS.add(
    "T25h",
    "Its pages set a content policy and a referrer policy, and are not stored",
    "Injected scripts run, and URLs with codes leak to other sites.",
    "Send a strict Content-Security-Policy, `Referrer-Policy: same-origin`, `Cache-Control: no-store`.",
)
def page_headers(evidence: Evidence) -> Verdict:
    answer = _page(evidence)
    if answer is None:
        return None
    wanted = {
        "Content-Security-Policy": answer.header("content-security-policy"),
        "Referrer-Policy": answer.header("referrer-policy"),
        "Cache-Control: no-store": "no-store" in answer.header("cache-control").lower(),
    }
    missing = [name for name, value in wanted.items() if not value]
    return Found(Severity.LOW, f"no {', no '.join(missing)}") if missing else Passed(", ".join(wanted))
