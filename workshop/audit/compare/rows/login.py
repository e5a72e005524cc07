"""The rows about a login: issuer, registration, PKCE, consent, audience, challenge, `iss`, refresh."""

import itertools
from urllib.parse import urlsplit

from workshop.audit.compare.client import CREATED, Reply, is_let_in, is_refusal
from workshop.audit.compare.evidence import (
    Cell,
    Evidence,
    ForAnother,
    NotObservedError,
    Presented,
    Unobserved,
    bad,
    good,
    seen,
)


def issuer(evidence: Evidence) -> Cell:
    """The server whose token endpoint issued the accepted token."""
    session = seen(evidence.session)
    token_endpoint = session.provider.endpoint("token")
    name = workload_at(evidence, token_endpoint)
    told = f"`{token_endpoint}` gave a token"
    if not is_let_in(session.first_use):
        return bad("not accepted", f"{told}, and the server refused it ({session.first_use.said}).")
    told += f", and the server took it ({session.first_use.status})"
    if name == evidence.server:
        return Cell("the server itself", f"{told}: the endpoint is the server's own.")
    return Cell("an outside server", f"{told}: the endpoint is that of `{name or 'another program'}`.")


def registration(evidence: Evidence) -> Cell:
    """Whether a client can register itself, and whether its redirect URI is checked (RFC 7591)."""
    metadata = seen(evidence.probe_result).probed.metadata
    if metadata is not None and "registration_endpoint" not in metadata:
        return Cell("not offered", "The authorization server's metadata names no registration endpoint.")
    found = seen(evidence.registered)
    documents = metadata is not None and metadata.get("client_id_metadata_document_supported") is True
    also = ", CIMD" if documents else ""
    if found.good.status not in CREATED and not is_refusal(found.good.status):
        raise NotObservedError(f"the registration endpoint failed: {found.good.said}")
    if found.good.status not in CREATED:
        return Cell(f"refused{also}", f"A registration that was in order got {found.good.said}.")
    taken = [uri for uri, reply in found.hostile.items() if reply.status in CREATED]
    if taken:
        shown = ", ".join(f"`{uri}`" for uri in taken)
        return bad(f"anybody, unchecked{also}", f"Forbidden redirect URIs were registered: {shown}.")
    shown = ", ".join(f"`{uri}` got {reply.said}" for uri, reply in found.hostile.items())
    if not all(is_refusal(reply.status) for reply in found.hostile.values()):
        return Cell(f"anybody{also}", f"Not observed whether redirect URIs are checked: {shown}.")
    return good(f"anybody, checked{also}", f"A loopback client was registered; {shown}.")


def iss(evidence: Evidence) -> Cell:
    """Whether the answer to the authorization request names its issuer (RFC 9207)."""
    session = seen(evidence.session)
    came, issued = (session.authorization.callback or {}).get("iss"), session.provider.issuer
    if came is None:
        announced = session.provider.metadata.get("authorization_response_iss_parameter_supported") is True
        told = "though the metadata announces it" if announced else "and the metadata announces none"
        return bad("no", f"The code came back without `iss`, {told}.")
    if came != issued:
        return bad("wrong", f"`iss` in the answer is `{came}`, the metadata's issuer is `{issued}`.")
    return good("yes", f"The code came back with `iss={came}`, which is the metadata's issuer.")


def refresh(evidence: Evidence) -> Cell:
    """Whether a login can be renewed without a person (OAuth 2.1 section 4.3)."""
    found = seen(evidence.refreshed)
    if not found.given:
        return Cell("none", "The token endpoint gave no refresh token.")
    if found.answered is None or found.first_use is None:
        said = found.answered.reply.said if found.answered else "nothing"
        return bad("given, but refused", f"The refresh token that was given got {said}.")
    if not is_let_in(found.first_use):
        return bad("no use", f"The refreshed access token got {found.first_use.said} from the server.")
    told = "a new one came with it" if found.rotated else "it stays the same"
    value = "works, rotates" if found.rotated else "works"
    return good(value, f"The refresh token brought an access token that the server took; {told}.")


def workload_at(evidence: Evidence, url: str) -> str:
    """The system's program at this address; empty if there is none."""
    wanted = urlsplit(url)
    for name, known in evidence.workloads.items():
        if (urlsplit(known).hostname, urlsplit(known).port) == (wanted.hostname, wanted.port):
            return name
    return ""


_ASKING = "decision"


def pkce(evidence: Evidence) -> Cell:
    """Whether a code is worth nothing without the verifier (RFC 7636; OAuth 2.1 section 7.5)."""
    found = seen(evidence.without_proof)
    bare, wrong = found.authorization.refused, found.wrong.access_token
    first = f"without `code_challenge`: {bare}" if bare else "without `code_challenge` a code came"
    second = "a wrong verifier got a token" if wrong else f"a wrong verifier: {found.wrong.reply.said}"
    told = f"A login {first}; {second}."
    if not wrong and not is_refusal(found.wrong.reply.status):
        raise NotObservedError(f"the token endpoint failed: {found.wrong.reply.said}")
    if wrong:
        return bad("not checked", told)
    return good("enforced", told) if bare else bad("only if sent", told)


def consent(evidence: Evidence) -> Cell:
    """Whether a person is asked about this client before anything is sent to GitHub (confused deputy)."""
    pages = seen(evidence.session).authorization.pages
    shown = [(workload_at(evidence, page.origin), page) for page in pages]
    way = ", then ".join(f"{page.path} of `{name or page.origin}`" for name, page in shown) or "no page"
    before = list(itertools.takewhile(lambda each: each[0] != evidence.github, shown))
    asking = [(name, page) for name, page in before if _ASKING in page.buttons]
    if not asking:
        return bad("nobody asks", f"The browser saw {way}: no page before GitHub's asked about this client.")
    name, page = asking[0]
    value = "asked by the server" if name == evidence.server else "asked by its provider"
    if not page.names_client:
        return bad(f"{value}, nameless", f"The browser saw {way}; the page does not name the client.")
    return good(value, f"The browser saw {way}; the page names the client by what it registered as.")


def audience(evidence: Evidence) -> Cell:
    """Whether a token for another server is refused here (RFC 8707, RFC 9068 section 4)."""
    presented, another = seen(evidence.presented), evidence.for_another
    taken, refused = _foreign(evidence, presented)
    if isinstance(another, Unobserved):
        asked = f"a token for another resource was not asked for ({another.why})"
    else:
        asked = _asked_for(another)
        if another.first_use is not None and is_let_in(another.first_use):
            return bad("not checked", f"{asked[:1].upper()}{asked[1:]}.")
    if taken:
        return bad("not checked", f"The server took {', '.join(taken)}; {asked}.")
    shown = f"refused: {', '.join(refused)}" if refused else "no foreign token could be shown"
    if (readdressed := _readdressed(presented)) and is_refusal(readdressed.status):
        return good("checked (aud)", f"{asked[:1].upper()}{asked[1:]}; {shown}.")
    kind = "The token names its audience" if presented.claims else "The token is opaque"
    if _is_refused_early(another):
        return good("checked", f"{kind}; {asked}; {shown}.")
    return Cell("foreign ones refused", f"{kind}; {asked}; {shown}.")


def challenge(evidence: Evidence) -> Cell:
    """The answer to a request without a token (RFC 9728 section 5.1)."""
    refusal = seen(evidence.probe_result).probed.refusal
    if refusal is None:
        return bad("none: let in", "A request without a token was not refused.")
    header = refusal.header("www-authenticate")
    if refusal.challenge is None:
        told = f"`WWW-Authenticate: {header}`" if header else "no `WWW-Authenticate`"
        return bad(f"{refusal.status}, no challenge", f"Without a token: {refusal.status} and {told}.")
    named = refusal.challenge.get("resource_metadata")
    if not named:
        return bad(f"{refusal.status}, no metadata", f"Without a token: {refusal.status}, `{header}`.")
    return good(f"{refusal.status}, names metadata", f"Without a token: {refusal.status}, `{header}`.")


def _foreign(evidence: Evidence, presented: Presented) -> tuple[list[str], list[str]]:
    """The foreign tokens that were taken, and those that were refused."""
    shown = {
        **presented.foreign,
        **{f"the token of {name}": reply for name, reply in evidence.neighbours.items()},
    }
    if readdressed := _readdressed(presented):
        shown["its own token with another `aud`, signed by the same key"] = readdressed
    taken = [f"{what} ({reply.status})" for what, reply in shown.items() if is_let_in(reply)]
    refused = [f"{what} ({reply.said})" for what, reply in shown.items() if is_refusal(reply.status)]
    return taken, refused


def _readdressed(presented: Presented) -> Reply | None:
    """The answer to a token with another `aud`; it says nothing where the token is refused unchanged."""
    is_control_good = presented.control is not None and is_let_in(presented.control)
    return presented.readdressed if is_control_good else None


def _asked_for(another: ForAnother) -> str:
    if another.answered is None:
        return f"a login for another resource ended with {another.authorization.refused}"
    if another.first_use is None:
        return f"a code for another resource got {another.answered.reply.said}"
    taken = "and was taken here" if is_let_in(another.first_use) else "and was refused here"
    return f"a token for another resource was given {taken} ({another.first_use.said})"


def _is_refused_early(another: ForAnother | Unobserved) -> bool:
    return isinstance(another, ForAnother) and another.first_use is None
