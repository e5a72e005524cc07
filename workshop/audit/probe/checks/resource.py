"""Protected-resource metadata (RFC 9728)."""

from workshop.audit.probe.evidence import Answer, Evidence, is_prm
from workshop.audit.probe.target import split
from workshop.audit.probe.verdicts import Check, Found, Passed, Severity, Verdict


def served(seen: Evidence) -> Verdict:
    if not seen.guarded and not seen.prm:
        return None
    if seen.prm is None:
        return Found(Severity.MEDIUM, "no protected-resource metadata at any of its places")
    servers = seen.prm.document.get("authorization_servers")
    if not isinstance(servers, list) or not servers or not all(split(url) for url in servers):
        return Found(Severity.MEDIUM, "`authorization_servers` names no usable URL")
    return Passed(f"authorization server {servers[0]}")


def both_places(seen: Evidence) -> Verdict:
    if seen.prm is None:
        return None
    places = {"below its path": seen.resource.at_path, "at the root": seen.resource.at_root}
    if seen.target.parts.path == "/":
        places.pop("below its path")
    missing = [place for place, answer in places.items() if answer is None or not is_prm(answer)]
    if not missing:
        return Passed("at every well-known place")
    announced = seen.resource.announced is not None and is_prm(seen.resource.announced)
    return Found(Severity.INFO if announced else Severity.LOW, f"not {' and not '.join(missing)}")


def names_this_server(seen: Evidence) -> Verdict:
    """Equal, or an origin or path above it: clients compare that way (MCP authorization, canonical URI)."""
    documents = [answer for answer in (seen.resource.announced, seen.resource.at_path) if answer is not None]
    documents = [answer for answer in documents if is_prm(answer)] or ([seen.prm] if seen.prm else [])
    if not documents:
        return None
    for answer in documents:
        if not _covers(answer, seen):
            return Found(Severity.MEDIUM, f"`resource` is {answer.document.get('resource')!r}")
    return Passed(f"{documents[0].document['resource']}")


def _covers(answer: Answer, seen: Evidence) -> bool:
    resource = answer.document.get("resource")
    parts = split(resource)
    if parts is None or parts.fragment:
        return False
    here = seen.target.parts
    same_origin = (parts.scheme, parts.netloc) == (here.scheme, here.netloc)
    above = parts.path.rstrip("/") + "/"
    return same_origin and (here.path.rstrip("/") + "/").startswith(above)


def header_only(seen: Evidence) -> Verdict:
    if seen.prm is None:
        return None
    methods = seen.prm.document.get("bearer_methods_supported", ["header"])
    if methods == ["header"]:
        return Passed("header only")
    bad = Severity.MEDIUM if isinstance(methods, list) and "query" in methods else Severity.LOW
    return Found(bad, f"`bearer_methods_supported` is {methods!r}")


def no_offline_access(seen: Evidence) -> Verdict:
    if seen.prm is None:
        return None
    listed = seen.prm.document.get("scopes_supported")
    scopes = [str(scope) for scope in listed] if isinstance(listed, list) else []
    if seen.refusal is not None and seen.refusal.challenge is not None:
        scopes += seen.refusal.challenge.get("scope", "").split()
    if "offline_access" in scopes:
        return Found(Severity.LOW, "the resource asks for `offline_access`")
    return Passed("`offline_access` is left to the authorization server")


CHECKS = (
    Check(
        "R1",
        "Protected-resource metadata names an authorization server",
        "MCP clients cannot find out where to log in (RFC 9728).",
        "Serve `/.well-known/oauth-protected-resource` with `resource` and `authorization_servers`.",
        served,
    ),
    Check(
        "R1p",
        "The metadata is at both well-known places",
        "Clients that do not read the challenge look below the path, then at the root.",
        "Serve `/.well-known/oauth-protected-resource`, and the same with the endpoint's path behind it.",
        both_places,
    ),
    Check(
        "T102",
        "The metadata is about this server",
        "Clients stop: a token for another server could be stolen that way (RFC 9728 section 3.3).",
        "Make `resource` the URL that clients use; take it from configuration, not from the Host header.",
        names_this_server,
    ),
    Check(
        "R7",
        "Tokens are announced for the header only",
        "Clients may put tokens into addresses or bodies, which are logged.",
        'Set `bearer_methods_supported` to `["header"]`.',
        header_only,
    ),
    Check(
        "R12",
        "`offline_access` is not asked for by the resource",
        "Every user grants lasting access, whether the client needs it or not (MCP 2026-07-28).",
        "List `offline_access` in the authorization server's metadata only.",
        no_offline_access,
    ),
)
