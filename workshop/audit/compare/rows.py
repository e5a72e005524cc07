"""The rows of the comparison: each is derived from evidence alone, without the system's name."""

import itertools
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from workshop.audit.compare.evidence import (
    CREATED,
    Cell,
    Cleaned,
    Evidence,
    ForAnother,
    Names,
    NotObservedError,
    Presented,
    Row,
    Unobserved,
    bad,
    good,
    is_let_in,
    is_refusal,
    observed,
)
from workshop.audit.compare.upstream import obtained, reaches, stored
from workshop.audit.probe.model import Answer, Severity
from workshop.core.text import counted


def issuer(evidence: Evidence) -> Cell:
    """The server whose token endpoint issued the token."""
    session = observed(evidence.session)
    token_endpoint = session.provider.endpoint("token")
    name = workload_at(evidence, token_endpoint)
    sentence = f"`{token_endpoint}` issued a token"
    if not is_let_in(session.first_use):
        return bad("not accepted", f"{sentence}, but the server refused it ({session.first_use.summary}).")
    sentence += f", and the server accepted it ({session.first_use.status})"
    if name == evidence.server:
        return Cell("the server itself", f"{sentence}: the endpoint is the server's own.")
    return Cell("an outside server", f"{sentence}: the endpoint is that of `{name or 'another program'}`.")


def registration(evidence: Evidence) -> Cell:
    """Whether a client can register itself, and whether its redirect URI is checked (RFC 7591)."""
    metadata = observed(evidence.probe_result).evidence.metadata
    if metadata is not None and "registration_endpoint" not in metadata:
        return Cell("not offered", "The authorization server's metadata has no registration endpoint.")
    found = observed(evidence.registered)
    documents = metadata is not None and metadata.get("client_id_metadata_document_supported") is True
    also = ", CIMD" if documents else ""
    if found.good.status not in CREATED and not is_refusal(found.good.status):
        raise NotObservedError(f"the registration endpoint failed: {found.good.summary}")
    if found.good.status not in CREATED:
        return Cell(f"refused{also}", f"A correct registration was answered with {found.good.summary}.")
    taken = [uri for uri, answer in found.hostile.items() if answer.status in CREATED]
    if taken:
        shown = ", ".join(f"`{uri}`" for uri in taken)
        return bad(f"anyone, unchecked{also}", f"Forbidden redirect URIs were registered: {shown}.")
    shown = ", ".join(f"`{uri}` got {answer.summary}" for uri, answer in found.hostile.items())
    # A 429 or a failure is not a decision about the redirect URI.
    if not all(is_refusal(answer.status) for answer in found.hostile.values()):
        return Cell(f"anyone{also}", f"Not observed whether redirect URIs are checked: {shown}.")
    return good(f"anyone, checked{also}", f"A loopback client was registered; {shown}.")


def iss(evidence: Evidence) -> Cell:
    """Whether the authorization response names its issuer (RFC 9207)."""
    session = observed(evidence.session)
    if session.authorization.callback is None:
        raise NotObservedError("a stored login was used, so no authorization response came")
    came, issued = session.authorization.callback.get("iss"), session.provider.issuer
    if came is None:
        announced = session.provider.metadata.get("authorization_response_iss_parameter_supported") is True
        sentence = (
            "although the metadata announces it" if announced else "and the metadata does not announce it"
        )
        return bad("no", f"The code was returned without `iss`, {sentence}.")
    if came != issued:
        return bad("wrong", f"`iss` in the response is `{came}`, the metadata's issuer is `{issued}`.")
    return good("yes", f"The code was returned with `iss={came}`, which is the metadata's issuer.")


def refresh(evidence: Evidence) -> Cell:
    """Whether a login can be renewed without a person (OAuth 2.1 section 4.3)."""
    found = observed(evidence.refreshed)
    if not found.given:
        return Cell("none", "The token endpoint did not issue a refresh token.")
    if found.answered is None or found.first_use is None:
        answer = found.answered.answer.summary if found.answered else "nothing"
        return bad("issued, but refused", f"The refresh token was answered with {answer}.")
    if not is_let_in(found.first_use):
        return bad("no use", f"The server answered the refreshed token with {found.first_use.summary}.")
    sentence = "it was replaced by a new one" if found.rotated else "it remains valid"
    value = "works, rotates" if found.rotated else "works"
    return good(value, f"The refresh token yielded an access token that the server accepts; {sentence}.")


def workload_at(evidence: Evidence, url: str) -> str:
    """The system's program at this address; empty if there is none."""
    wanted = urlsplit(url)
    for name, known in evidence.workloads.items():
        if (urlsplit(known).hostname, urlsplit(known).port) == (wanted.hostname, wanted.port):
            return name
    return ""


_ASKING = "decision"


def pkce(evidence: Evidence) -> Cell:
    """Whether a code is useless without its verifier (RFC 7636; OAuth 2.1 section 7.5)."""
    found = observed(evidence.without_proof)
    bare, wrong = found.authorization.refused, found.wrong.access_token
    first = f"was refused: {bare}" if bare else "got a code"
    second = "got a token" if wrong else f"was refused: {found.wrong.answer.summary}"
    sentence = f"A login without `code_challenge` {first}; a code with a wrong verifier {second}."
    if not wrong and not is_refusal(found.wrong.answer.status):
        raise NotObservedError(f"the token endpoint failed: {found.wrong.answer.summary}")
    if wrong:
        return bad("not checked", sentence)
    return good("enforced", sentence) if bare else bad("only if sent", sentence)


def consent(evidence: Evidence) -> Cell:
    """Whether a person is asked about this client before anything is sent to GitHub (confused deputy)."""
    pages = observed(evidence.session).authorization.pages
    if pages is None:
        raise NotObservedError("the pages were shown to a person")
    shown = [(workload_at(evidence, page.origin), page) for page in pages]
    way = ", then ".join(f"{page.path} of `{name or page.origin}`" for name, page in shown) or "no page"
    # A page after GitHub's comes too late: GitHub skips its own for an app that the user once approved.
    before = list(itertools.takewhile(lambda each: each[0] != evidence.github, shown))
    asking = [(name, page) for name, page in before if _ASKING in page.buttons]
    if not asking:
        return bad("nobody asks", f"The browser opened {way}: no page before GitHub's names this client.")
    name, page = asking[0]
    value = "asked by the server" if name == evidence.server else "asked by its provider"
    if not page.names_client:
        return bad(f"{value}, nameless", f"The browser opened {way}; the page does not name the client.")
    return good(value, f"The browser opened {way}; the page shows the client's registered name.")


def audience(evidence: Evidence) -> Cell:
    """Whether a token for another server is refused here (RFC 8707, RFC 9068 section 4)."""
    presented, another = observed(evidence.presented), evidence.for_another
    taken, refused = _foreign(evidence, presented)
    if isinstance(another, Unobserved):
        asked = f"a token for another resource was not requested ({another.why})"
    else:
        asked = _asked_for(another)
        if another.first_use is not None and is_let_in(another.first_use):
            return bad("not checked", f"{asked[:1].upper()}{asked[1:]}.")
    if taken:
        return bad("not checked", f"The server accepted {', '.join(taken)}; {asked}.")
    shown = f"refused: {', '.join(refused)}" if refused else "no foreign token could be sent"
    # The strongest proof: this token differs from an accepted one in nothing but `aud`.
    if (readdressed := _readdressed(presented)) and is_refusal(readdressed.status):
        return good("checked (aud)", f"{asked[:1].upper()}{asked[1:]}; {shown}.")
    kind = "The token names its audience" if presented.claims else "The token is opaque"
    if isinstance(another, ForAnother) and another.first_use is None:
        return good("checked", f"{kind}; {asked}; {shown}.")
    return Cell("foreign ones refused", f"{kind}; {asked}; {shown}.")


def challenge(evidence: Evidence) -> Cell:
    """The answer to a request without a token (RFC 9728 section 5.1)."""
    refusal = observed(evidence.probe_result).evidence.refusal
    if refusal is None:
        return bad("none: accepted", "A request without a token was not refused.")
    header = refusal.header("www-authenticate")
    if refusal.challenge is None:
        sentence = f"`WWW-Authenticate: {header}`" if header else "no `WWW-Authenticate`"
        return bad(f"{refusal.status}, no challenge", f"Without a token: {refusal.status} and {sentence}.")
    named = refusal.challenge.get("resource_metadata")
    if not named:
        return bad(f"{refusal.status}, no metadata", f"Without a token: {refusal.status}, `{header}`.")
    return good(f"{refusal.status}, names metadata", f"Without a token: {refusal.status}, `{header}`.")


def _foreign(evidence: Evidence, presented: Presented) -> tuple[list[str], list[str]]:
    """The foreign tokens that were accepted, and those that were refused, each with the answer."""
    shown = {
        **presented.foreign,
        **{f"the token of {name}": answer for name, answer in evidence.neighbours.items()},
    }
    if readdressed := _readdressed(presented):
        shown["its own token with another `aud`, signed by the same key"] = readdressed
    taken = [f"{what} ({answer.status})" for what, answer in shown.items() if is_let_in(answer)]
    refused = [f"{what} ({answer.summary})" for what, answer in shown.items() if is_refusal(answer.status)]
    return taken, refused


def _readdressed(presented: Presented) -> Answer | None:
    """The answer to a token with another `aud`; None if even the unchanged token is refused."""
    is_control_good = presented.control is not None and is_let_in(presented.control)
    return presented.readdressed if is_control_good else None


def _asked_for(another: ForAnother) -> str:
    if another.answered is None:
        return f"a login for another resource ended with {another.authorization.refused}"
    if another.first_use is None:
        return f"a code for another resource was answered with {another.answered.answer.summary}"
    taken = "and accepted here" if is_let_in(another.first_use) else "and refused here"
    return f"a token for another resource was issued {taken} ({another.first_use.summary})"


_SHOWN = 4
_SEVERAL = 2
_OK = 200


def prefix(evidence: Evidence) -> Cell:
    """The prefix before the tools' names on the servers behind."""
    names = observed(evidence.names)
    listed = _some(names.listed)
    found = _prefixes(names)
    if found:
        sentence = ", ".join(f"`{name}` is {origin}" for name, origin in list(found.values())[:_SHOWN])
        others = [name for name in names.listed if not _origin(name, names)]
        shared = _shared(others)
        if shared:
            sentence += f"; the other {len(others)} begin with `{shared}`, and no server behind lists them"
        elif others:
            sentence += f"; {len(others)} others have no prefix"
        return Cell(", ".join([*sorted(found), *([shared] if shared else [])]), f"{sentence}.")
    if target := _shared(names.listed, "___"):
        return Cell(target, f"All {len(names.listed)} names begin with this prefix: {listed}.")
    if any(name in tools for tools in names.behind.values() for name in names.listed):
        return Cell("none", f"The names are the same as on the server behind: {listed}.")
    return Cell("none", f"No server behind has one of these names: {listed}.")


def cleanup(evidence: Evidence) -> Cell:
    """What remains on this machine and at GitHub after the system is removed."""
    found = observed(evidence.cleaned)
    left = _left(found)
    sentence = f"{_undone(found)} {_signed_out(found)} {_at_github(found)}".strip()
    if left:
        return bad("incomplete", f"Not removed: {', '.join(left)}. {sentence}")
    here = f"{len(found.steps)} steps undone" if found.steps else "complete"
    if found.credential_after == _OK:
        return Cell(f"{here}; GitHub's token is still valid", sentence)
    if found.approvals and not found.revoked:
        return Cell(f"{here}; GitHub's approval remains", sentence)
    return Cell(here, sentence)


def findings(evidence: Evidence) -> Cell:
    """What `workshop probe` finds, without a login."""
    report = observed(evidence.probe_result).report
    counts = [f"{number} {severity}" for severity in Severity if (number := report.count(severity))]
    if not counts:
        return good("none", f"{len(report.passed)} checks passed, {len(report.undecided)} undecided.")
    worst = "; ".join(f"{item.id} {item.title}: {item.seen}" for item in report.findings[:_SHOWN])
    cell = bad if report.failed else Cell
    return cell(", ".join(counts), f"{worst}.")


def answered(evidence: Evidence) -> Cell:
    """Whether the part's agent, unchanged, answered the part's question."""
    asked = observed(evidence.asked)
    if asked.failure:
        return bad("no", f"{asked.failure}.")
    if lacking := asked.lacks(evidence.facts):
        return bad("no", f"The answer does not name {', '.join(lacking)}: {asked.answer[:200]}")
    return good("yes", asked.answer)


def _prefixes(names: Names) -> dict[str, tuple[str, str]]:
    """Each prefix, with a tool that has it and where that tool is from."""
    found: dict[str, tuple[str, str]] = {}
    for name in names.listed:
        if (origin := _origin(name, names)) and origin[0]:
            found.setdefault(origin[0], (name, f"`{name.removeprefix(origin[0])}` of `{origin[1]}`"))
    return found


def _origin(name: str, names: Names) -> tuple[str, str] | None:
    """The prefix of a tool's name, and the server whose tool it is; the longest matching name wins."""
    fitting = [
        (len(tool), name.removesuffix(tool), server)
        for server, tools in names.behind.items()
        for tool in tools
        if name.endswith(tool)
    ]
    return max(fitting)[1:] if fitting else None


def _shared(names: Sequence[str], separator: str = "_") -> str:
    """The common beginning of at least two names, up to a separator; empty if there is none."""
    if len(names) < _SEVERAL:
        return ""
    first, last = min(names), max(names)  # every name between them shares their common beginning
    same = next(
        (n for n, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first)
    )
    head, found, _ = first[:same].rpartition(separator)
    return head + found


def _some(names: Iterable[str]) -> str:
    listed = [f"`{name}`" for name in names]
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


def _left(found: Cleaned) -> list[str]:
    left = [f"process {pid}" for pid in found.processes] + [f"port {port}" for port in found.ports]
    return [*left, *(["its directory"] if found.directory else [])]


def _undone(found: Cleaned) -> str:
    if not found.steps:
        return "Its processes, ports and files are removed."
    return f"It undid {len(found.steps)} steps itself; its processes, ports and files are removed."


def _signed_out(found: Cleaned) -> str:
    if found.token_after is None:
        return f"Sign-out: {found.signed_out}."
    still = "still works" if is_let_in(found.token_after) else f"is refused: {found.token_after.summary}"
    login = "; the agent still has its login" if found.login_left else ""
    return f"Sign-out: {found.signed_out}; the access token {still}{login}."


def _at_github(found: Cleaned) -> str:
    if found.approvals is None:
        return ""
    asked = (
        f"was asked to revoke at {', '.join(found.revoked)}"
        if found.revoked
        else "was not asked to revoke anything"
    )
    listed = counted(found.approvals, "approval") if found.approvals else "no approvals"
    sentence = f"GitHub lists {listed} and {asked}."
    if found.credential_after is None:
        return sentence
    return f"{sentence} GitHub answers the credential itself with {found.credential_after}."


ROWS = (
    Row("issuer", "token issuer", "Who issues the client's token?", issuer),
    Row("credential", "upstream token", "How is the upstream token obtained?", obtained),
    Row("kept", "stored where", "Where is it stored, and is it readable there?", stored),
    Row("passthrough", "token passed on", "Does the client's token reach the upstream?", reaches),
    Row("pkce", "PKCE", "Is a code useless without its verifier?", pkce),
    Row("consent", "consent", "Is a person asked about this client?", consent),
    Row("audience", "audience", "Is a token for another server refused?", audience),
    Row("challenge", "challenge", "How is a request without a token answered?", challenge),
    Row("registration", "registration", "Can a client register itself?", registration),
    Row("iss", "iss (RFC 9207)", "Does the authorization response name its issuer?", iss),
    Row("refresh", "refresh", "Can a login be renewed without a person?", refresh),
    Row("prefix", "tool prefix", "Which prefix do the tools' names have?", prefix),
    Row("cleanup", "cleanup", "What is left after removal?", cleanup),
    Row("findings", "probe findings", "What does `workshop probe` find?", findings),
    Row("answered", "answered", "Did the agent answer the part's question?", answered),
)
