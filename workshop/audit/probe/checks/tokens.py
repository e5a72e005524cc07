"""Tokens that are worth nothing: are they refused, and the way clients expect?"""

from workshop.audit.probe.evidence import UNAUTHORIZED, Answer, Evidence
from workshop.audit.probe.verdicts import Check, Found, Passed, Severity, Unknown, Verdict

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
