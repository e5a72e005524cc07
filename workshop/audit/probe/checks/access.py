"""Without a token: is one asked for, and does the refusal tell a client what to do?"""

from workshop.audit.probe.evidence import OK, UNAUTHORIZED, Evidence
from workshop.audit.probe.verdicts import Check, Found, Passed, Severity, Unknown, Verdict


def token_required(seen: Evidence) -> Verdict:
    asked = {"server/discover": seen.mcp.discover, "initialize": seen.mcp.initialize, "GET": seen.mcp.get}
    open_to = [name for name, answer in asked.items() if answer is not None and answer.result]
    stream = seen.mcp.get is not None and seen.mcp.get.status == OK
    if stream and seen.mcp.get and seen.mcp.get.media_type == "text/event-stream":
        open_to.append("GET")
    if not open_to:
        return Passed("Asks for a token") if seen.guarded else Unknown("It did nothing that was asked of it")
    names = " and ".join(open_to)
    if seen.guarded:
        return Found(Severity.HIGH, f"{names} works without a token, other requests do not")
    if seen.prm:
        return Found(Severity.MEDIUM, f"{names} works without a token, though the server announces OAuth")
    if seen.target.loopback:
        return Found(Severity.LOW, f"{names} works without a token, on this machine")
    return Found(Severity.HIGH, f"{names} works without a token, and the server is on a network")


def refusal_is_401(seen: Evidence) -> Verdict:
    if seen.refusal is None:
        return None
    if seen.refusal.status == UNAUTHORIZED:
        return Passed("401")
    return Found(Severity.MEDIUM, f"{seen.refusal.status} instead of 401")


def challenge_announces(seen: Evidence) -> Verdict:
    if seen.refusal is None:
        return None
    challenge = seen.refusal.challenge
    if challenge is not None and challenge.get("resource_metadata"):
        return Passed("`resource_metadata` in the challenge")
    seen_there = "no Bearer challenge" if challenge is None else "a challenge without `resource_metadata`"
    return Found(Severity.LOW if seen.prm and challenge is not None else Severity.MEDIUM, seen_there)


def challenge_has_scope(seen: Evidence) -> Verdict:
    if seen.refusal is None or seen.refusal.challenge is None:
        return None
    scope = seen.refusal.challenge.get("scope")
    return Passed(f"scope {scope!r}") if scope else Found(Severity.LOW, "the challenge has no `scope`")


def no_error_without_token(seen: Evidence) -> Verdict:
    if seen.refusal is None or seen.refusal.challenge is None:
        return None
    error = seen.refusal.challenge.get("error")
    if error is None:
        return Passed("no error code")
    return Found(Severity.LOW, f"`error={error}` though no token was sent")


def guessable_session(seen: Evidence) -> Verdict:
    session = seen.mcp.initialize.header("mcp-session-id") if seen.mcp.initialize else ""
    if not session:
        return None
    random_enough = len(session) >= 16 and not session.isdecimal()  # noqa: PLR2004 - 64 bits in hexadecimal
    if random_enough:
        return Passed(f"a session id of {len(session)} characters")
    return Found(Severity.MEDIUM, f"a session id of {len(session)} characters, {session[:20]!r}")


CHECKS = (
    Check(
        "R8",
        "A token is required for every request",
        "Whoever reaches the address can use the tools, with the rights of the server.",
        "Refuse each request without a valid token, of every method and era. A server that stays open on "
        "purpose listens on loopback only, checks Host and Origin, and offers nothing that writes.",
        token_required,
    ),
    Check(
        "R4",
        "Without a token the answer is 401",
        "Clients start a login on 401 only; with another status the user sees an error instead.",
        "Answer 401 with a `WWW-Authenticate: Bearer` header.",
        refusal_is_401,
    ),
    Check(
        "R2",
        "The challenge says where the metadata is",
        "A client has to guess where the authorization server is, and may find none.",
        'Send `WWW-Authenticate: Bearer resource_metadata="…/.well-known/oauth-protected-resource"` with '
        "every 401.",
        challenge_announces,
    ),
    Check(
        "R3",
        "The challenge names the scope",
        "Clients ask for every scope there is, or for none, and users approve more than is needed.",
        "Add `scope` to the challenge, with what this request needs.",
        challenge_has_scope,
    ),
    Check(
        "T78",
        "A request without a token gets no error code",
        "The client has done nothing wrong yet (RFC 6750 section 3.1); some drop their login on an error.",
        "Leave `error` out of the challenge unless a token was sent.",
        no_error_without_token,
    ),
    Check(
        "T89",
        "Session ids cannot be guessed",
        "Who guesses an id takes over another user's session (CVE-2025-6515).",
        "Make ids of at least 128 random bits, and tie each to its user.",
        guessable_session,
    ),
)
