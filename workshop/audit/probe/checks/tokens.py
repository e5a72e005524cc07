"""Requests without a token, with invalid ones, and with the agent's own.

Is each refused in the way clients expect? Is the agent's own token checked, and is it enough on its own?
"""

import unicodedata

from workshop.audit.probe.model import (
    EVIL_HOST,
    OK,
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
from workshop.core.text import one_line

WITHOUT_LOGIN = Checks()


@WITHOUT_LOGIN.add(
    "R8",
    "A token is required for every request",
    "Anyone who can reach the address can use the tools with the server's own rights.",
    "Refuse every request without a valid token, in every method and protocol version. A server that is "
    "open on purpose listens on loopback only, checks Host and Origin, and has no tool that writes.",
)
def token_required(evidence: Evidence) -> Verdict:
    mcp = evidence.mcp
    asked = {"server/discover": mcp.discover, "initialize": mcp.initialize, "GET": mcp.get}
    open_to = [name for name, answer in asked.items() if answer is not None and answer.result]
    stream = mcp.get is not None and mcp.get.status == OK
    if stream and mcp.get and mcp.get.media_type == "text/event-stream":
        open_to.append("GET")
    if not open_to:
        return (
            Passed("requires a token")
            if evidence.guarded
            else Unknown("no request was answered with a result")
        )
    names = " and ".join(open_to)
    if evidence.guarded:
        return Found(Severity.HIGH, f"{names} works without a token; other requests do not")
    # It was meant to be protected, so something in front of it may be missing.
    if evidence.prm:
        return Found(Severity.MEDIUM, f"{names} works without a token, although the server announces OAuth")
    if evidence.target.loopback:
        return Found(Severity.LOW, f"{names} works without a token; the server is on this machine")
    return Found(Severity.HIGH, f"{names} works without a token, and the server is on a network")


@WITHOUT_LOGIN.add(
    "R4",
    "Without a token the answer is 401",
    "Clients start a login only on 401; with another status the user sees an error instead.",
    "Answer 401 with a `WWW-Authenticate: Bearer` header.",
)
def refusal_is_401(evidence: Evidence) -> Verdict:
    if evidence.refusal is None:
        return None
    if evidence.refusal.status == UNAUTHORIZED:
        return Passed("401")
    return Found(Severity.MEDIUM, f"{evidence.refusal.status} instead of 401")


@WITHOUT_LOGIN.add(
    "R2",
    "The challenge names the URL of the metadata",
    "A client has to guess where the authorization server is, and may not find it.",
    'Send `WWW-Authenticate: Bearer resource_metadata="…/.well-known/oauth-protected-resource"` with '
    "every 401.",
)
def challenge_announces(evidence: Evidence) -> Verdict:
    if evidence.refusal is None:
        return None
    challenge = evidence.refusal.challenge
    if challenge is not None and challenge.get("resource_metadata"):
        return Passed("`resource_metadata` in the challenge")
    problem = "no Bearer challenge" if challenge is None else "the challenge has no `resource_metadata`"
    return Found(Severity.LOW if evidence.prm and challenge is not None else Severity.MEDIUM, problem)


@WITHOUT_LOGIN.add(
    "R3",
    "The challenge names the scope",
    "Clients request every scope that exists, or none, and users approve more than is needed.",
    "Add `scope` to the challenge, with the scopes that this request needs.",
)
def challenge_has_scope(evidence: Evidence) -> Verdict:
    if evidence.refusal is None or evidence.refusal.challenge is None:
        return None
    scope = evidence.refusal.challenge.get("scope")
    return Passed(f"scope {scope!r}") if scope else Found(Severity.LOW, "the challenge has no `scope`")


@WITHOUT_LOGIN.add(
    "T78",
    "A request without a token is refused without an error code",
    "The client has not made a mistake (RFC 6750 section 3.1); some drop their login on an error.",
    "Leave `error` out of the challenge unless a token was sent.",
)
def no_error_without_token(evidence: Evidence) -> Verdict:
    if evidence.refusal is None or evidence.refusal.challenge is None:
        return None
    error = evidence.refusal.challenge.get("error")
    if error is None:
        return Passed("no error code")
    return Found(Severity.LOW, f"`error={error}` although no token was sent")


@WITHOUT_LOGIN.add(
    "T89",
    "Session ids cannot be guessed",
    "An attacker who guesses an id takes over another user's session (CVE-2025-6515).",
    "Make each id from at least 128 random bits, and bind it to its user.",
)
def guessable_session(evidence: Evidence) -> Verdict:
    session = evidence.mcp.initialize.header("mcp-session-id") if evidence.mcp.initialize else ""
    if not session:
        return None
    random_enough = len(session) >= 16 and not session.isdecimal()  # noqa: PLR2004 - 64 bits in hexadecimal
    if random_enough:
        return Passed(f"a session id of {len(session)} characters")
    return Found(Severity.MEDIUM, f"a session id of {len(session)} characters, {session[:20]!r}")


_UNASKED = "no answer"


def _judged(evidence: Evidence, answer: Answer | None, what: str) -> Verdict:
    if evidence.refusal is None:
        return None
    if answer is None:
        return Unknown(_UNASKED)
    if answer.status < 300 or answer.result:  # noqa: PLR2004 - a success
        return Found(Severity.HIGH, f"{what} is accepted ({answer.status})")
    if answer.status in {UNAUTHORIZED, evidence.refusal.status}:
        return Passed(f"{answer.status}")
    bad = Severity.MEDIUM if answer.status >= 500 else Severity.LOW  # noqa: PLR2004 - the server failed
    return Found(bad, f"{what} is answered with {answer.status} instead of 401")


@WITHOUT_LOGIN.add(
    "T84",
    "A made-up token is refused",
    "Any text works as a token, so anyone gets access.",
    "Verify the signature, issuer, audience and expiry of each token, or ask the authorization server.",
)
def garbage(evidence: Evidence) -> Verdict:
    return _judged(evidence, evidence.mcp.garbage, "a made-up token")


@WITHOUT_LOGIN.add(
    "T80",
    "A token without a signature is refused",
    "Anyone can write a token that names any user (RFC 8725 section 2.1).",
    "Accept only the algorithms that you sign with; never trust the algorithm in the token's own header.",
)
def unsigned(evidence: Evidence) -> Verdict:
    return _judged(evidence, evidence.mcp.unsigned, "a JWT with `alg: none`")


@WITHOUT_LOGIN.add(
    "R4t",
    "An invalid token is refused with `invalid_token`",
    "Clients cannot tell an expired token from a missing one, and do not refresh it.",
    'Add `error="invalid_token"` to the challenge when the token that was sent is invalid.',
)
def error_for_bad_token(evidence: Evidence) -> Verdict:
    if not evidence.guarded or evidence.mcp.garbage is None or evidence.mcp.garbage.status != UNAUTHORIZED:
        return None
    error = (evidence.mcp.garbage.challenge or {}).get("error")
    if error == "invalid_token":
        return Passed("`error=invalid_token`")
    return Found(Severity.LOW, f"`error={error}`" if error else "no error code for an invalid token")


@WITHOUT_LOGIN.add(
    "T85",
    "A token in the query is not used",
    "URLs are stored in logs and histories and sent as referrers, with the token in them (RFC 9700).",
    "Read the token from the Authorization header only.",
)
def query_token(evidence: Evidence) -> Verdict:
    """A server that reads the query refuses a bad token there as it does in the header."""
    if not evidence.guarded or evidence.refusal is None:
        return None
    answer, bare, garbage_answer = evidence.mcp.query, evidence.refusal, evidence.mcp.garbage
    if answer is None:
        return Unknown(_UNASKED)
    if answer.status < 300 or answer.result:  # noqa: PLR2004 - a success
        return Found(Severity.HIGH, f"a token in the query is accepted ({answer.status})")
    # Then the answer in the query cannot show whether the token there was read.
    if garbage_answer is None or garbage_answer.gist == bare.gist:
        return Unknown("the answer is the same with and without a token")
    read = answer.status == UNAUTHORIZED and answer.gist != bare.gist
    if read:
        return Found(
            Severity.MEDIUM, f"a token in the query is read: {answer.gist[1]} {answer.gist[2]}".strip()
        )
    return Passed("a token in the query is ignored")


WITH_LOGIN = Checks()
_DAY = 24 * 60 * 60
_SUCCESS = 300
_INVISIBLE = frozenset({"Cf", "Co", "Cn"})  # format (zero-width, tags), private use, unassigned
_JOINERS = "\u200c\u200d"
"""Emoji and some languages' ordinary words have these."""


@WITH_LOGIN.add(
    "L1",
    "The server accepts the token of a login",
    "People log in and cannot use the server.",
    "Accept the tokens of the authorization server that the metadata names.",
)
def token_accepted(evidence: Evidence) -> Verdict:
    signed = evidence.signed
    if signed is None:
        return None
    if signed.let_in:
        return Passed(f"{signed.let_in.status}")
    statuses = [str(answer.status) for answer in (signed.discover, signed.initialize) if answer]
    return Found(Severity.MEDIUM, f"the token was answered with {' and '.join(statuses) or 'nothing'}")


@WITH_LOGIN.add(
    "L2",
    "A changed token is refused",
    "Anyone can write a token that names any user (RFC 8725 section 2.1).",
    "Verify the signature of each token, or ask the authorization server.",
)
def changed_refused(evidence: Evidence) -> Verdict:
    if evidence.signed is None or not evidence.signed.let_in:
        return None
    return _refused(evidence.signed.changed, "a token with one other character")


@WITH_LOGIN.add(
    "L3",
    "A session needs its token",
    "Anyone who learns a session's id can act as its user.",
    "Check the token of every request; a session's id does not show who sends it.",
)
def session_needs_token(evidence: Evidence) -> Verdict:
    signed = evidence.signed
    opened = signed.initialize.header("mcp-session-id") if signed and signed.initialize else ""
    if signed is None or not opened:
        return None
    return _refused(signed.session, "a session's id without a token")


def _refused(answer: Answer | None, what: str) -> Verdict:
    if answer is None:
        return Unknown(_UNASKED)
    if answer.status < _SUCCESS or answer.result:
        return Found(Severity.HIGH, f"{what} is accepted ({answer.status})")
    return Passed(f"{answer.status}")


@WITH_LOGIN.add(
    "L4",
    "The token names this server as its audience",
    "The same token works at other servers, and theirs may work here (RFC 8707).",
    "Issue tokens with the server's own URL in `aud`, and refuse others.",
)
def names_audience(evidence: Evidence) -> Verdict:
    if evidence.signed is None:
        return None
    claims = evidence.signed.claims
    if not claims:
        return Unknown("the token is opaque")
    audience = claims.get("aud")
    # Clients and servers differ about the final slash of a bare origin.
    named = {str(one).rstrip("/") for one in (audience if isinstance(audience, list) else [audience]) if one}
    resource = str(evidence.prm.document.get("resource", "")) if evidence.prm else ""
    own = {
        address.rstrip("/") for address in (evidence.target.url, evidence.target.origin, resource) if address
    }
    shown = one_line(", ".join(sorted(named)) or "nothing", 120)
    if named & own:
        return Passed(shown)
    return Found(Severity.MEDIUM, f"the token's `aud` is {shown}")


@WITH_LOGIN.add(
    "L5",
    "The token ends within a day",
    "A stolen token works until it ends (RFC 9700).",
    "Issue access tokens for an hour, and refresh tokens that rotate.",
)
def short_lived(evidence: Evidence) -> Verdict:
    if evidence.signed is None:
        return None
    seconds = evidence.signed.seconds
    if seconds is None:
        return Unknown("the token endpoint did not state `expires_in`")
    if seconds > _DAY:
        return Found(Severity.LOW, f"{seconds / _DAY:.0f} days")
    return Passed(f"{seconds} s")


@WITH_LOGIN.add(
    "L6",
    "A foreign Origin is refused with a token too",
    "MCP transports: an invalid Origin gets 403, whoever sends it.",
    "Compare the Origin header, if there is one, with your own list before anything else.",
)
def origin_checked(evidence: Evidence) -> Verdict:
    return _foreign(evidence, evidence.signed.origin if evidence.signed else None, "Origin")


@WITH_LOGIN.add(
    "L7",
    "A foreign Host is refused with a token too",
    "With DNS rebinding, a web page gets the same origin as the server.",
    "Compare the Host header with your own list before anything else; answer 421.",
)
def host_checked(evidence: Evidence) -> Verdict:
    return _foreign(evidence, evidence.signed.host if evidence.signed else None, "Host")


def _foreign(evidence: Evidence, answer: Answer | None, header: str) -> Verdict:
    if evidence.signed is None or not evidence.signed.let_in:
        return None
    if answer is None:
        return Unknown("no answer; the server may have closed the connection on purpose")
    if answer.result:
        severity = Severity.MEDIUM if evidence.target.loopback else Severity.LOW
        return Found(severity, f"a request with {header} {EVIL_HOST} is carried out")
    return Passed(f"{answer.status}")


@WITH_LOGIN.add(
    "L8",
    "The tools' texts have no invisible characters",
    "A model can read instructions there that no person sees.",
    "Remove format characters and private ones from names, descriptions and schemas.",
)
def visible(evidence: Evidence) -> Verdict:
    if evidence.signed is None or not evidence.signed.tools:
        return None
    hiding = [name for name, text in evidence.signed.tools.items() if any(map(_is_invisible, text))]
    if not hiding:
        return Passed(f"{len(evidence.signed.tools)} tools")
    shown = one_line(", ".join(hiding), 120)
    return Found(Severity.MEDIUM, f"invisible characters in {shown}")


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in _INVISIBLE and character not in _JOINERS
