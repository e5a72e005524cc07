"""Requests without a token, and with worthless ones: is each refused as clients expect?"""

from workshop.audit.probe.evidence import OK, UNAUTHORIZED, Answer, Evidence
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


_UNASKED = "no answer"


def _judged(seen: Evidence, answer: Answer | None, what: str) -> Verdict:
    if seen.refusal is None:
        return None
    if answer is None:
        return Unknown(_UNASKED)
    if answer.status < 300 or answer.result:  # noqa: PLR2004 - a success
        return Found(Severity.HIGH, f"{what} is accepted ({answer.status})")
    if answer.status in {UNAUTHORIZED, seen.refusal.status}:
        return Passed(f"{answer.status}")
    bad = Severity.MEDIUM if answer.status >= 500 else Severity.LOW  # noqa: PLR2004 - the server failed
    return Found(bad, f"{what} gets {answer.status} instead of 401")


def garbage(seen: Evidence) -> Verdict:
    return _judged(seen, seen.mcp.garbage, "a made-up token")


def unsigned(seen: Evidence) -> Verdict:
    return _judged(seen, seen.mcp.unsigned, "a JWT with `alg: none`")


def error_for_bad_token(seen: Evidence) -> Verdict:
    if not seen.guarded or seen.mcp.garbage is None or seen.mcp.garbage.status != UNAUTHORIZED:
        return None
    error = (seen.mcp.garbage.challenge or {}).get("error")
    if error == "invalid_token":
        return Passed("`error=invalid_token`")
    return Found(Severity.LOW, f"`error={error}`" if error else "no error code for a token that is not valid")


def query_token(seen: Evidence) -> Verdict:
    """A server that reads the query says the same of a token there as of one in the header."""
    if not seen.guarded or seen.refusal is None:
        return None
    answer, bare, garbage_answer = seen.mcp.query, seen.refusal, seen.mcp.garbage
    if answer is None:
        return Unknown(_UNASKED)
    if answer.status < 300 or answer.result:  # noqa: PLR2004 - a success
        return Found(Severity.HIGH, f"a token in the query is accepted ({answer.status})")
    if garbage_answer is None or garbage_answer.gist == bare.gist:
        return Unknown("the server says the same with and without a token")
    read = answer.status == UNAUTHORIZED and answer.gist != bare.gist
    if read:
        return Found(
            Severity.MEDIUM, f"a token in the query is looked at: {answer.gist[1]} {answer.gist[2]}".strip()
        )
    return Passed("a token in the query is not looked at")


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
    Check(
        "T84",
        "A made-up token is refused",
        "Anybody with any text for a token is let in.",
        "Verify signature, issuer, audience and expiry of each token, or ask the authorization server.",
        garbage,
    ),
    Check(
        "T80",
        "A token without a signature is refused",
        "Anybody can write a token with any user's name in it (RFC 8725 section 2.1).",
        "Allow the algorithms you sign with by name, never what the token's own header says.",
        unsigned,
    ),
    Check(
        "R4t",
        "A bad token gets `invalid_token`",
        "Clients cannot tell an expired token from a missing one, and do not refresh it.",
        'Add `error="invalid_token"` to the challenge when the token that was sent is not valid.',
        error_for_bad_token,
    ),
    Check(
        "T85",
        "A token in the query is not used",
        "Addresses end up in logs, histories and referrers, and the token with them (RFC 9700).",
        "Read the token from the Authorization header only.",
        query_token,
    ),
)
