"""The rows about a login: issuer, registration, PKCE, consent, audience, challenge, `iss`, refresh."""

import itertools
from urllib.parse import urlsplit

from workshop.audit.compare.client import CREATED, is_let_in, is_refusal
from workshop.audit.compare.evidence import (
    Cell,
    Evidence,
    ForAnother,
    NotObservedError,
    Presented,
    Unobserved,
    bad,
    good,
    observed,
)
from workshop.audit.probe.model import Answer


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
    metadata = observed(evidence.probe_result).probed.metadata
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
    if (readdressed := _readdressed(presented)) and is_refusal(readdressed.status):
        return good("checked (aud)", f"{asked[:1].upper()}{asked[1:]}; {shown}.")
    kind = "The token names its audience" if presented.claims else "The token is opaque"
    if _is_refused_early(another):
        return good("checked", f"{kind}; {asked}; {shown}.")
    return Cell("foreign ones refused", f"{kind}; {asked}; {shown}.")


def challenge(evidence: Evidence) -> Cell:
    """The answer to a request without a token (RFC 9728 section 5.1)."""
    refusal = observed(evidence.probe_result).probed.refusal
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


def _is_refused_early(another: ForAnother | Unobserved) -> bool:
    return isinstance(another, ForAnother) and another.first_use is None
