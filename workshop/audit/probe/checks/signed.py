"""Requests with the agent's own token: is that token checked, and is it enough on its own?"""

import unicodedata

from workshop.audit.probe.model import (
    EVIL_HOST,
    Answer,
    Check,
    Evidence,
    Found,
    Passed,
    Severity,
    Unknown,
    Verdict,
)
from workshop.core.text import one_line

_DAY = 24 * 60 * 60
_SUCCESS = 300
_INVISIBLE = frozenset({"Cf", "Co", "Cn"})
_JOINERS = "\u200c\u200d"
"""Emoji and some languages' ordinary words have these."""
_UNASKED = "no answer"


def token_accepted(evidence: Evidence) -> Verdict:
    signed = evidence.signed
    if signed is None:
        return None
    if signed.let_in:
        return Passed(f"{signed.let_in.status}")
    statuses = [str(answer.status) for answer in (signed.discover, signed.initialize) if answer]
    return Found(Severity.MEDIUM, f"the token was answered with {' and '.join(statuses) or 'nothing'}")


def changed_refused(evidence: Evidence) -> Verdict:
    if evidence.signed is None or not evidence.signed.let_in:
        return None
    return _refused(evidence.signed.changed, "a token with one other character")


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


def names_audience(evidence: Evidence) -> Verdict:
    if evidence.signed is None:
        return None
    claims = evidence.signed.claims
    if not claims:
        return Unknown("the token is opaque")
    audience = claims.get("aud")
    named = {str(one).rstrip("/") for one in (audience if isinstance(audience, list) else [audience]) if one}
    resource = str(evidence.prm.document.get("resource", "")) if evidence.prm else ""
    own = {
        address.rstrip("/") for address in (evidence.target.url, evidence.target.origin, resource) if address
    }
    shown = one_line(", ".join(sorted(named)) or "nothing", 120)
    if named & own:
        return Passed(shown)
    return Found(Severity.MEDIUM, f"the token's `aud` is {shown}")


def short_lived(evidence: Evidence) -> Verdict:
    if evidence.signed is None:
        return None
    seconds = evidence.signed.seconds
    if seconds is None:
        return Unknown("the token endpoint did not state `expires_in`")
    if seconds > _DAY:
        return Found(Severity.LOW, f"{seconds / _DAY:.0f} days")
    return Passed(f"{seconds} s")


def origin_checked(evidence: Evidence) -> Verdict:
    return _foreign(evidence, evidence.signed.origin if evidence.signed else None, "Origin")


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


CHECKS = (
    Check(
        "L1",
        "The server accepts the token of a login",
        "People log in and cannot use the server.",
        "Accept the tokens of the authorization server that the metadata name.",
        token_accepted,
    ),
    Check(
        "L2",
        "A changed token is refused",
        "Anyone can write a token that names any user (RFC 8725 section 2.1).",
        "Verify the signature of each token, or ask the authorization server.",
        changed_refused,
    ),
    Check(
        "L3",
        "A session needs its token",
        "Whoever learns the id of a session takes over its user's place.",
        "Check the token of every request; a session's id does not show who sends it.",
        session_needs_token,
    ),
    Check(
        "L4",
        "The token names this server as its audience",
        "The same token works at other servers, and theirs may work here (RFC 8707).",
        "Issue tokens with the server's own URL in `aud`, and refuse others.",
        names_audience,
    ),
    Check(
        "L5",
        "The token ends within a day",
        "A stolen token works until it ends (RFC 9700).",
        "Issue access tokens for an hour, and refresh tokens that rotate.",
        short_lived,
    ),
    Check(
        "L6",
        "A foreign Origin is refused with a token too",
        "MCP transports: an invalid Origin gets 403, whoever sends it.",
        "Compare the Origin header, if there is one, with your own list before anything else.",
        origin_checked,
    ),
    Check(
        "L7",
        "A foreign Host is refused with a token too",
        "With DNS rebinding, a web page gets the same origin as the server.",
        "Compare the Host header with your own list before anything else; answer 421.",
        host_checked,
    ),
    Check(
        "L8",
        "The tools' texts have no invisible characters",
        "A model reads instructions there that no person sees.",
        "Remove format characters and private ones from names, descriptions and schemas.",
        visible,
    ),
)
