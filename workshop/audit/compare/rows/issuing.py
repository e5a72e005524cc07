"""Where the client's token comes from: issuer, registration, `iss` in the answer, refresh."""

from urllib.parse import urlsplit

from workshop.audit.compare.cell import Cell, bad, good
from workshop.audit.compare.client import CREATED
from workshop.audit.compare.evidence import Evidence, NotSeenError, seen
from workshop.audit.compare.wire import is_let_in, is_refusal


def issuer(evidence: Evidence) -> Cell:
    """Whoever's token endpoint gave the token that the server took."""
    session = seen(evidence.session)
    token_endpoint = session.provider.endpoint("token")
    name = workload_at(evidence, token_endpoint)
    told = f"`{token_endpoint}` gave a token"
    if not is_let_in(session.knock):
        return bad("nobody it believes", f"{told}, and the server refused it ({session.knock.said}).")
    told += f", and the server took it ({session.knock.status})"
    if name == evidence.server:
        return Cell("the server itself", f"{told}: the endpoint is the server's own.")
    return Cell("an outside server", f"{told}: the endpoint is that of `{name or 'another program'}`.")


def registration(evidence: Evidence) -> Cell:
    """Whether a client can introduce itself, and whether its redirect URI is looked at (RFC 7591)."""
    metadata = seen(evidence.tour).probed.metadata
    if metadata is not None and "registration_endpoint" not in metadata:
        return Cell("not offered", "The authorization server's metadata names no registration endpoint.")
    found = seen(evidence.registered)
    documents = metadata is not None and metadata.get("client_id_metadata_document_supported") is True
    also = ", CIMD" if documents else ""
    if found.good.status not in CREATED and not is_refusal(found.good.status):
        raise NotSeenError(f"the registration endpoint failed: {found.good.said}")
    if found.good.status not in CREATED:
        return Cell(f"refused{also}", f"A registration that was in order got {found.good.said}.")
    taken = [uri for uri, reply in found.hostile.items() if reply.status in CREATED]
    if taken:
        shown = ", ".join(f"`{uri}`" for uri in taken)
        return bad(
            f"anybody, unchecked{also}", f"Redirect URIs that nobody may have were registered: {shown}."
        )
    shown = ", ".join(f"`{uri}` got {reply.said}" for uri, reply in found.hostile.items())
    if not all(is_refusal(reply.status) for reply in found.hostile.values()):
        return Cell(f"anybody{also}", f"Whether redirect URIs are looked at was not seen: {shown}.")
    return good(f"anybody, checked{also}", f"A loopback client was registered; {shown}.")


def iss(evidence: Evidence) -> Cell:
    """Whether the answer to the authorization request names its issuer (RFC 9207)."""
    session = seen(evidence.session)
    came, issued = (session.walk.callback or {}).get("iss"), session.provider.issuer
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
    if found.answered is None or found.knock is None:
        said = found.answered.reply.said if found.answered else "nothing"
        return bad("given, but refused", f"The refresh token that was given got {said}.")
    if not is_let_in(found.knock):
        return bad("no use", f"The refreshed access token got {found.knock.said} from the server.")
    told = "a new one came with it" if found.rotated else "it stays the same"
    value = "works, rotates" if found.rotated else "works"
    return good(value, f"The refresh token brought an access token that the server took; {told}.")


def workload_at(evidence: Evidence, url: str) -> str:
    """The program of the room that answers at this address; empty for none of them."""
    wanted = urlsplit(url)
    for name, known in evidence.workloads.items():
        if (urlsplit(known).hostname, urlsplit(known).port) == (wanted.hostname, wanted.port):
            return name
    return ""
