"""The authorization server's endpoints, each asked something that it must refuse."""

from workshop.audit.probe.evidence import Answer, Evidence
from workshop.audit.probe.requests import EVIL_CALLBACK, EVIL_HOST
from workshop.audit.probe.target import host_of, joined
from workshop.audit.probe.verdicts import Check, Found, Passed, Severity, Unknown, Verdict

_UNASKED = "not asked, or no answer"
_SUCCESSES, _REDIRECTS = range(200, 300), range(300, 400)
_FAILURES, _CRASHES = range(400, 500), range(500, 600)
_TOO_MANY = 429


def evil_redirect_refused(seen: Evidence) -> Verdict:
    if seen.metadata is None or not seen.metadata.get("registration_endpoint"):
        return None
    answer = seen.server.registration if seen.server else None
    if seen.server is None or answer is None:
        return Unknown(_UNASKED)
    if answer.status == _TOO_MANY:
        return Unknown("429: too many registrations")
    if answer.status in _FAILURES:
        return Passed(f"{answer.status} {answer.gist[1]}".strip())
    if answer.status in _CRASHES:
        return Found(Severity.MEDIUM, f"{answer.status} instead of a refusal")
    client, deletion = answer.document.get("client_id"), seen.server.unregistration
    deleted = deletion is not None and deletion.status in _SUCCESSES
    left = "deleted again" if deleted else f"client {str(client)[:60]!r} is left there"
    return Found(Severity.HIGH, f"{EVIL_CALLBACK} is registered ({answer.status}); {left}")


def unknown_grant_refused(seen: Evidence) -> Verdict:
    if seen.metadata is None:
        return None
    answer = seen.server.token_form if seen.server else None
    if answer is None:
        return Unknown(_UNASKED)
    if answer.status in _FAILURES:
        if "error" in answer.document:
            return Passed(f"{answer.status} {answer.gist[1]}")
        return Found(Severity.LOW, f"{answer.status} without an OAuth error")
    severity = Severity.MEDIUM if answer.status in _CRASHES else Severity.HIGH
    return Found(severity, f"{answer.status} for a grant type that does not exist")


def json_refused(seen: Evidence) -> Verdict:
    """A server that reads JSON says of it what it says of the form with the same content."""
    if seen.metadata is None or seen.server is None:
        return None
    form, body = seen.server.token_form, seen.server.token_json
    if form is None or body is None:
        return Unknown(_UNASKED)
    if body.status not in _FAILURES:
        return Found(Severity.LOW, f"{body.status} for a JSON body")
    if body.gist == form.gist and body.gist[1] not in {"", "invalid_client", "invalid_request"}:
        return Found(Severity.LOW, f"a JSON body is read as a form would be: {body.gist[1]}")
    return Passed(f"{body.status} {body.gist[1]}".strip())


def token_answers_unstored(seen: Evidence) -> Verdict:
    return _unstored(seen.server.token_form if seen.server else None)


def registration_answers_unstored(seen: Evidence) -> Verdict:
    return _unstored(seen.server.registration if seen.server else None)


def _unstored(answer: Answer | None) -> Verdict:
    if answer is None:
        return None
    control = answer.header("cache-control")
    if "no-store" in control.lower():
        return Passed(control)
    return Found(Severity.LOW, f"`Cache-Control` is {control!r}" if control else "no `Cache-Control`")


def no_open_redirect(seen: Evidence) -> Verdict:
    if seen.metadata is None or not seen.metadata.get("authorization_endpoint"):
        return None
    answer = seen.server.authorize if seen.server else None
    if answer is None:
        return Unknown(_UNASKED)
    if answer.status in _REDIRECTS:
        return _redirected(answer)
    if answer.status in _FAILURES:
        return Passed(f"{answer.status}, no redirect")
    if EVIL_HOST in answer.text:
        return Found(
            Severity.MEDIUM, f"a page that offers to go on to {EVIL_HOST} for an unregistered client"
        )
    return Unknown(f"{answer.status}: a page, perhaps to sign in first")


def _redirected(answer: Answer) -> Verdict:
    place = joined(answer.url, answer.header("location"))
    if host_of(place) == EVIL_HOST:
        return Found(Severity.HIGH, f"an unregistered client's browser is sent to {EVIL_HOST}")
    if not place:
        return Unknown("a redirect that cannot be read")
    if host_of(place) == host_of(answer.url):
        return Unknown("sends to another page of its own, perhaps to sign in first")
    return Found(Severity.MEDIUM, f"an unregistered client's request goes on to {host_of(place)[:80]}")


def _page(seen: Evidence) -> Answer | None:
    answer = seen.server.authorize if seen.server else None
    return answer if answer is not None and answer.media_type == "text/html" else None


def not_framed(seen: Evidence) -> Verdict:
    answer = _page(seen)
    if answer is None:
        return None
    policy = answer.header("content-security-policy").lower()
    if "frame-ancestors" in policy or answer.header("x-frame-options"):
        return Passed("framing is forbidden")
    return Found(Severity.MEDIUM, "neither `frame-ancestors` nor `X-Frame-Options`")


def page_headers(seen: Evidence) -> Verdict:
    answer = _page(seen)
    if answer is None:
        return None
    wanted = {
        "Content-Security-Policy": answer.header("content-security-policy"),
        "Referrer-Policy": answer.header("referrer-policy"),
        "Cache-Control: no-store": "no-store" in answer.header("cache-control").lower(),
    }
    missing = [name for name, value in wanted.items() if not value]
    return Found(Severity.LOW, f"no {', no '.join(missing)}") if missing else Passed(", ".join(wanted))


CHECKS = (
    Check(
        "T66",
        "A redirect to plain http on another machine is not registered",
        "Codes can be sent to anybody: one registration and one careless click are enough.",
        "Register https redirect URIs and http on loopback only; refuse others with `invalid_redirect_uri`.",
        evil_redirect_refused,
    ),
    Check(
        "T50",
        "An unknown grant type is refused",
        "The token endpoint does not check what it is asked for.",
        "Answer 400 with `unsupported_grant_type` as JSON (RFC 6749 section 5.2).",
        unknown_grant_refused,
    ),
    Check(
        "T51",
        "The token endpoint reads forms only",
        "Several ways to say the same are several ways past a filter; JSON has no rule for repeated names.",
        "Refuse bodies that are not `application/x-www-form-urlencoded`.",
        json_refused,
    ),
    Check(
        "T61",
        "Token answers are not stored",
        "A cache between client and server may keep tokens.",
        "Send `Cache-Control: no-store` with every answer of the token endpoint, errors too.",
        token_answers_unstored,
    ),
    Check(
        "T61r",
        "Registration answers are not stored",
        "A cache may keep client secrets.",
        "Send `Cache-Control: no-store` with every answer of the endpoint (RFC 7591 section 3.2.1).",
        registration_answers_unstored,
    ),
    Check(
        "T01",
        "An unregistered client gets an error page, no redirect",
        "An open redirector under your name, and the first half of stealing codes (RFC 9700 section 4.11).",
        "Check client id and redirect URI before anything else, and answer with a 400 page.",
        no_open_redirect,
    ),
    Check(
        "T25",
        "Its pages cannot be framed",
        "Another site can lay the approval page under its own buttons (clickjacking).",
        "Send `Content-Security-Policy: frame-ancestors 'none'` and `X-Frame-Options: DENY` with each page.",
        not_framed,
    ),
    Check(
        "T25h",
        "Its pages have a policy, no referrer, and are not stored",
        "What is injected runs, and addresses with codes leak to other sites.",
        "Send a strict Content-Security-Policy, `Referrer-Policy: same-origin`, `Cache-Control: no-store`.",
        page_headers,
    ),
)
