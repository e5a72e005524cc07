"""Metadata of the protected resource (RFC 9728) and of the authorization server (RFC 8414)."""

from collections.abc import Mapping
from typing import Any

from workshop.audit.probe.evidence import Answer, Evidence, is_prm
from workshop.audit.probe.target import is_secure, split
from workshop.audit.probe.verdicts import Check, Found, Passed, Severity, Verdict


def resource_described(seen: Evidence) -> Verdict:
    if not seen.guarded and not seen.prm:
        return None
    if seen.prm is None:
        return Found(Severity.MEDIUM, "no protected-resource metadata at any well-known address")
    servers = seen.prm.document.get("authorization_servers")
    if not isinstance(servers, list) or not servers or not all(split(url) for url in servers):
        return Found(Severity.MEDIUM, "`authorization_servers` names no usable URL")
    return Passed(f"authorization server {servers[0]}")


def both_well_known(seen: Evidence) -> Verdict:
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


_ENDPOINTS = (
    "authorization_endpoint",
    "token_endpoint",
    "registration_endpoint",
    "revocation_endpoint",
    "jwks_uri",
)


def _list(metadata: Mapping[str, Any], name: str) -> list[str] | None:
    """A list of texts; None when it is left out."""
    value = metadata.get(name)
    if value is None:
        return None
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def server_described(seen: Evidence) -> Verdict:
    if seen.server is None:
        return None
    if seen.metadata is None:
        return Found(Severity.MEDIUM, f"no metadata for {seen.issuer}")
    missing = [name for name in _ENDPOINTS[:2] if not isinstance(seen.metadata.get(name), str)]
    if missing:
        return Found(Severity.MEDIUM, f"without {' and '.join(missing)}")
    return Passed(f"metadata for {seen.issuer}")


def issuer_identical(seen: Evidence) -> Verdict:
    if seen.metadata is None:
        return None
    issuer = seen.metadata.get("issuer")
    if issuer == seen.issuer:
        return Passed(f"{issuer}")
    return Found(Severity.MEDIUM, f"`issuer` is {issuer!r}, expected {seen.issuer!r}")


def pkce(seen: Evidence) -> Verdict:
    if seen.metadata is None:
        return None
    methods = _list(seen.metadata, "code_challenge_methods_supported")
    if methods and "S256" in methods:
        return Passed("S256")
    return Found(Severity.HIGH, f"`code_challenge_methods_supported` is {methods}")


def no_plain_pkce(seen: Evidence) -> Verdict:
    if seen.metadata is None:
        return None
    if "plain" in (_list(seen.metadata, "code_challenge_methods_supported") or []):
        return Found(Severity.MEDIUM, "`plain` is offered")
    return Passed("`plain` is not offered")


def public_clients(seen: Evidence) -> Verdict:
    if seen.metadata is None:
        return None
    methods = _list(seen.metadata, "token_endpoint_auth_methods_supported")
    if methods and "none" in methods:
        return Passed("`none`")
    return Found(Severity.LOW, f"`token_endpoint_auth_methods_supported` is {methods}")


def issuer_in_response(seen: Evidence) -> Verdict:
    if seen.metadata is None:
        return None
    if seen.metadata.get("authorization_response_iss_parameter_supported") is True:
        return Passed("announced")
    return Found(Severity.LOW, "`authorization_response_iss_parameter_supported` is not true")


def registration_offered(seen: Evidence) -> Verdict:
    if seen.metadata is None:
        return None
    if seen.metadata.get("client_id_metadata_document_supported") is True:
        return Passed("client id metadata documents")
    if seen.metadata.get("registration_endpoint"):
        return Passed("dynamic registration")
    return Found(Severity.LOW, "neither registration nor client id metadata documents")


def revocation_offered(seen: Evidence) -> Verdict:
    if seen.metadata is None:
        return None
    endpoint = seen.metadata.get("revocation_endpoint")
    return Passed(f"{endpoint}") if endpoint else Found(Severity.LOW, "no `revocation_endpoint`")


def no_legacy_grants(seen: Evidence) -> Verdict:
    if seen.metadata is None:
        return None
    grants = _list(seen.metadata, "grant_types_supported")
    responses = _list(seen.metadata, "response_types_supported") or []
    legacy = [name for name in grants or [] if name in {"implicit", "password"}]
    legacy += [name for name in responses if "token" in name.split()]
    if legacy:
        return Found(Severity.MEDIUM, f"offers {', '.join(legacy)}")
    if grants is None:
        return Found(Severity.LOW, "`grant_types_supported` is left out, which means implicit is offered")
    return Passed(", ".join(grants))


def https_everywhere(seen: Evidence) -> Verdict:
    urls = {"the MCP endpoint": seen.target.url}
    if seen.issuer:
        urls["issuer"] = seen.issuer
    for name in _ENDPOINTS:
        value = (seen.metadata or {}).get(name)
        if isinstance(value, str):
            urls[name] = value
    plain = [name for name, url in urls.items() if not is_secure(url)]
    if plain:
        return Found(Severity.HIGH, f"not https: {', '.join(plain)}")
    return Passed("https, or on this machine")


CHECKS = (
    Check(
        "R1",
        "Protected-resource metadata names an authorization server",
        "MCP clients cannot find out where to log in (RFC 9728).",
        "Serve `/.well-known/oauth-protected-resource` with `resource` and `authorization_servers`.",
        resource_described,
    ),
    Check(
        "R1p",
        "The metadata is at both well-known places",
        "Clients that do not read the challenge look below the path, then at the root.",
        "Serve `/.well-known/oauth-protected-resource`, and the same with the endpoint's path behind it.",
        both_well_known,
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
    Check(
        "A2",
        "The authorization server has metadata",
        "MCP clients cannot find its endpoints.",
        "Serve `/.well-known/oauth-authorization-server` (RFC 8414), with the issuer's path behind it.",
        server_described,
    ),
    Check(
        "A2i",
        "The issuer is the URL its metadata was built from",
        "Clients stop: metadata of another issuer could send them to an attacker's endpoints (mix-up).",
        "Make `issuer` the same, to the slash, in both metadata documents and in their address.",
        issuer_identical,
    ),
    Check(
        "A3",
        "PKCE with S256 is announced",
        "Clients have to stop; where they do not, a stolen code can be redeemed by the thief.",
        'Demand PKCE, and announce `code_challenge_methods_supported: ["S256"]`.',
        pkce,
    ),
    Check(
        "T10",
        "PKCE `plain` is not offered",
        "Who sees the authorization request can redeem the code: the challenge is the verifier.",
        "Support S256 only.",
        no_plain_pkce,
    ),
    Check(
        "A1",
        "Clients without a secret are announced",
        "Agents on a desktop cannot keep a secret; some clients stop without `none` in the list.",
        "Add `none` to `token_endpoint_auth_methods_supported`; left out, it means `client_secret_basic`.",
        public_clients,
    ),
    Check(
        "A11",
        "Authorization responses carry `iss`",
        "A client that uses several authorization servers cannot tell which one answered (mix-up, RFC 9207).",
        "Add `iss` to each authorization response, errors too, and announce it.",
        issuer_in_response,
    ),
    Check(
        "A9",
        "A new client can introduce itself",
        "Users have to register their client by hand before they can log in.",
        "Support client id metadata documents (with an SSRF guard), or dynamic registration (RFC 7591).",
        registration_offered,
    ),
    Check(
        "T87",
        "Tokens can be revoked",
        "A user who signs out leaves tokens behind that go on working.",
        "Add a revocation endpoint (RFC 7009) that ends the whole grant, and announce it.",
        revocation_offered,
    ),
    Check(
        "T68",
        "No implicit or password grant",
        "Tokens pass through addresses, or users' passwords through clients (RFC 9700 section 2).",
        "Offer `authorization_code` and `refresh_token` only, and say so in the metadata.",
        no_legacy_grants,
    ),
    Check(
        "A6",
        "Everything off this machine is https",
        "Codes and tokens can be read on the way.",
        "Serve every endpoint over https, and put https URLs into the metadata.",
        https_everywhere,
    ),
)
