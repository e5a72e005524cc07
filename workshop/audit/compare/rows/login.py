"""What a login has to be: proven, asked for, meant for this server, and begun by a challenge."""

import itertools

from workshop.audit.compare.cell import Cell, bad, good
from workshop.audit.compare.evidence import Evidence, ForAnother, NotSeenError, Presented, Unseen, seen
from workshop.audit.compare.rows.issuing import workload_at
from workshop.audit.compare.wire import Reply, is_let_in, is_refusal

_ASKING = "decision"


def pkce(evidence: Evidence) -> Cell:
    """Whether a code is worth nothing without the verifier (RFC 7636; OAuth 2.1 section 7.5)."""
    found = seen(evidence.without_proof)
    bare, wrong = found.walk.refused, found.wrong.access_token
    first = f"without `code_challenge`: {bare}" if bare else "without `code_challenge` a code came"
    second = "a wrong verifier got a token" if wrong else f"a wrong verifier: {found.wrong.reply.said}"
    told = f"A login {first}; {second}."
    if not wrong and not is_refusal(found.wrong.reply.status):
        raise NotSeenError(f"the token endpoint failed: {found.wrong.reply.said}")
    if wrong:
        return bad("not checked", told)
    return good("enforced", told) if bare else bad("only if sent", told)


def consent(evidence: Evidence) -> Cell:
    """Whether a person is asked about this client before anything is sent to GitHub (confused deputy)."""
    pages = seen(evidence.session).walk.pages
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
    """Whether a token that is for somebody else is worth nothing here (RFC 8707, RFC 9068 section 4)."""
    presented, another = seen(evidence.presented), evidence.for_another
    taken, refused = _foreign(evidence, presented)
    if isinstance(another, Unseen):
        asked = f"a token for another resource was not asked for ({another.why})"
    else:
        asked = _asked_for(another)
        if another.knock is not None and is_let_in(another.knock):
            return bad("not checked", f"{asked[:1].upper()}{asked[1:]}.")
    if taken:
        return bad("not checked", f"The server took {', '.join(taken)}; {asked}.")
    shown = f"refused: {', '.join(refused)}" if refused else "no foreign token could be shown"
    if (readdressed := _readdressed(presented)) and is_refusal(readdressed.status):
        return good("checked (aud)", f"{asked[:1].upper()}{asked[1:]}; {shown}.")
    kind = "The token says whom it is for" if presented.claims else "The token is opaque"
    if _is_refused_early(another):
        return good("checked", f"{kind}; {asked}; {shown}.")
    return Cell("foreign ones refused", f"{kind}; {asked}; {shown}.")


def challenge(evidence: Evidence) -> Cell:
    """What a request without a token is told (RFC 9728 section 5.1)."""
    refusal = seen(evidence.tour).probed.refusal
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
        return f"a login for another resource ended with {another.walk.refused}"
    if another.knock is None:
        return f"a code for another resource got {another.answered.reply.said}"
    taken = "and was taken here" if is_let_in(another.knock) else "and was refused here"
    return f"a token for another resource was given {taken} ({another.knock.said})"


def _is_refused_early(another: ForAnother | Unseen) -> bool:
    return isinstance(another, ForAnother) and another.knock is None
