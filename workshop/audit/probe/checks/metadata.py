"""Metadata of the protected resource (RFC 9728) and of the authorization server (RFC 8414)."""

from collections.abc import Mapping
from typing import Any

from workshop.audit.probe.model import (
    Answer,
    Checks,
    Evidence,
    Found,
    Passed,
    Severity,
    Verdict,
    is_prm,
    is_secure,
    split,
)

CHECKS = Checks()


@CHECKS.add(
    "R1",
    "Protected-resource metadata names an authorization server",
    "MCP clients cannot find the authorization server (RFC 9728).",
    "Serve `/.well-known/oauth-protected-resource` with `resource` and `authorization_servers`.",
)
def resource_described(evidence: Evidence) -> Verdict:
    if not evidence.guarded and not evidence.prm:
        return None
    if evidence.prm is None:
        return Found(Severity.MEDIUM, "no protected-resource metadata at any well-known URL")
    servers = evidence.prm.document.get("authorization_servers")
    if not isinstance(servers, list) or not servers or not all(split(url) for url in servers):
        return Found(Severity.MEDIUM, "`authorization_servers` names no usable URL")
    return Passed(f"authorization server {servers[0]}")


@CHECKS.add(
    "R1p",
    "The metadata is at both well-known URLs",
    "Clients that do not read the challenge look below the path, then at the root.",
    "Serve `/.well-known/oauth-protected-resource`, and the same URL with the endpoint's path appended.",
)
def both_well_known(evidence: Evidence) -> Verdict:
    if evidence.prm is None:
        return None
    urls = {"below its path": evidence.resource.at_path, "at the root": evidence.resource.at_root}
    if evidence.target.parts.path == "/":
        urls.pop("below its path")
    missing = [where for where, answer in urls.items() if answer is None or not is_prm(answer)]
    if not missing:
        return Passed("at every well-known URL")
    # A client that reads the challenge needs no well-known URL.
    announced = evidence.resource.announced is not None and is_prm(evidence.resource.announced)
    return Found(Severity.INFO if announced else Severity.LOW, f"not {' and not '.join(missing)}")


@CHECKS.add(
    "T102",
    "The metadata is about this server",
    "Clients stop, because a token for another server could be stolen that way (RFC 9728 section 3.3).",
    "Make `resource` the URL that clients use; read it from configuration, not from the Host header.",
)
def names_this_server(evidence: Evidence) -> Verdict:
    """Equal, or an origin or path above it, as clients compare (MCP authorization, canonical URI)."""
    # The document at the root is the one of the origin, and may describe another server there.
    read = (evidence.resource.announced, evidence.resource.at_path)
    documents = [answer for answer in read if answer is not None and is_prm(answer)]
    documents = documents or ([evidence.prm] if evidence.prm else [])
    if not documents:
        return None
    for answer in documents:
        if not _covers(answer, evidence):
            return Found(Severity.MEDIUM, f"`resource` is {answer.document.get('resource')!r}")
    return Passed(f"{documents[0].document['resource']}")


def _covers(answer: Answer, evidence: Evidence) -> bool:
    resource = answer.document.get("resource")
    parts = split(resource)
    if parts is None or parts.fragment:
        return False
    here = evidence.target.parts
    same_origin = (parts.scheme, parts.netloc) == (here.scheme, here.netloc)
    above = parts.path.rstrip("/") + "/"
    return same_origin and (here.path.rstrip("/") + "/").startswith(above)


@CHECKS.add(
    "R7",
    "The metadata allows tokens in the header only",
    "Clients may put tokens into URLs or bodies, which are logged.",
    'Set `bearer_methods_supported` to `["header"]`.',
)
def header_only(evidence: Evidence) -> Verdict:
    if evidence.prm is None:
        return None
    # Optional: without it, clients use the header (RFC 9728 section 2).
    methods = evidence.prm.document.get("bearer_methods_supported", ["header"])
    if methods == ["header"]:
        return Passed("header only")
    bad = Severity.MEDIUM if isinstance(methods, list) and "query" in methods else Severity.LOW
    return Found(bad, f"`bearer_methods_supported` is {methods!r}")


@CHECKS.add(
    "R12",
    "The resource does not request `offline_access`",
    "Every user grants lasting access, whether or not the client needs it (MCP 2026-07-28).",
    "List `offline_access` in the authorization server's metadata only.",
)
def no_offline_access(evidence: Evidence) -> Verdict:
    if evidence.prm is None:
        return None
    listed = evidence.prm.document.get("scopes_supported")
    scopes = [str(scope) for scope in listed] if isinstance(listed, list) else []
    if evidence.refusal is not None and evidence.refusal.challenge is not None:
        scopes += evidence.refusal.challenge.get("scope", "").split()
    if "offline_access" in scopes:
        return Found(Severity.LOW, "the resource requests `offline_access`")
    return Passed("`offline_access` is left to the authorization server")


_ENDPOINTS = (
    "authorization_endpoint",
    "token_endpoint",
    "registration_endpoint",
    "revocation_endpoint",
    "jwks_uri",
)


def _list(metadata: Mapping[str, Any], name: str) -> list[str] | None:
    """A list of strings; None when the metadata does not have it."""
    value = metadata.get(name)
    if value is None:
        return None
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


@CHECKS.add(
    "A2",
    "The authorization server has metadata",
    "MCP clients cannot find its endpoints.",
    "Serve `/.well-known/oauth-authorization-server` (RFC 8414), with the issuer's path appended.",
)
def server_described(evidence: Evidence) -> Verdict:
    if evidence.server is None:
        return None
    if evidence.metadata is None:
        return Found(Severity.MEDIUM, f"no metadata for {evidence.issuer}")
    # RFC 8414 section 2 requires these two of a server with the code grant; the others are optional.
    missing = [name for name in _ENDPOINTS[:2] if not isinstance(evidence.metadata.get(name), str)]
    if missing:
        return Found(Severity.MEDIUM, f"it lacks {' and '.join(missing)}")
    return Passed(f"metadata for {evidence.issuer}")


@CHECKS.add(
    "A2i",
    "The issuer is the URL from which its metadata's URL is made",
    "Clients stop: another issuer's metadata could send them to an attacker's endpoints (mix-up).",
    "Use the same `issuer`, including its slashes, in both metadata documents and in their URLs.",
)
def issuer_identical(evidence: Evidence) -> Verdict:
    if evidence.metadata is None:
        return None
    issuer = evidence.metadata.get("issuer")
    if issuer == evidence.issuer:
        return Passed(f"{issuer}")
    return Found(Severity.MEDIUM, f"`issuer` is {issuer!r}, expected {evidence.issuer!r}")


@CHECKS.add(
    "A3",
    "PKCE with S256 is announced",
    "Clients have to stop; if they do not, the thief of a code can redeem it.",
    'Require PKCE, and announce `code_challenge_methods_supported: ["S256"]`.',
)
def pkce(evidence: Evidence) -> Verdict:
    if evidence.metadata is None:
        return None
    methods = _list(evidence.metadata, "code_challenge_methods_supported")
    if methods and "S256" in methods:
        return Passed("S256")
    return Found(Severity.HIGH, f"`code_challenge_methods_supported` is {methods}")


@CHECKS.add(
    "T10",
    "PKCE `plain` is not offered",
    "Anyone who sees the authorization request can redeem the code: the challenge is the verifier.",
    "Support S256 only.",
)
def no_plain_pkce(evidence: Evidence) -> Verdict:
    if evidence.metadata is None:
        return None
    if "plain" in (_list(evidence.metadata, "code_challenge_methods_supported") or []):
        return Found(Severity.MEDIUM, "`plain` is offered")
    return Passed("`plain` is not offered")


@CHECKS.add(
    "A1",
    "Clients without a secret are accepted",
    "An agent on a laptop cannot protect a secret; some clients stop if the list lacks `none`.",
    "Add `none` to `token_endpoint_auth_methods_supported`; the default is `client_secret_basic`.",
)
def public_clients(evidence: Evidence) -> Verdict:
    if evidence.metadata is None:
        return None
    methods = _list(evidence.metadata, "token_endpoint_auth_methods_supported")
    if methods and "none" in methods:
        return Passed("`none`")
    return Found(Severity.LOW, f"`token_endpoint_auth_methods_supported` is {methods}")


@CHECKS.add(
    "A11",
    "Authorization responses contain `iss`",
    "A client that uses several authorization servers cannot tell which one answered (mix-up, RFC 9207).",
    "Add `iss` to each authorization response, including errors, and announce it.",
)
def issuer_in_response(evidence: Evidence) -> Verdict:
    if evidence.metadata is None:
        return None
    if evidence.metadata.get("authorization_response_iss_parameter_supported") is True:
        return Passed("announced")
    return Found(Severity.LOW, "`authorization_response_iss_parameter_supported` is not true")


@CHECKS.add(
    "A9",
    "A new client can register itself",
    "Users have to register their client by hand before they can log in.",
    "Support client ID metadata documents (and refuse internal addresses), or registration (RFC 7591).",
)
def registration_offered(evidence: Evidence) -> Verdict:
    if evidence.metadata is None:
        return None
    if evidence.metadata.get("client_id_metadata_document_supported") is True:
        return Passed("client ID metadata documents")
    if evidence.metadata.get("registration_endpoint"):
        return Passed("dynamic registration")
    return Found(Severity.LOW, "neither registration nor client ID metadata documents")


@CHECKS.add(
    "T87",
    "Tokens can be revoked",
    "Tokens remain valid after the user has signed out.",
    "Add a revocation endpoint (RFC 7009) that ends the whole grant, and announce it.",
)
def revocation_offered(evidence: Evidence) -> Verdict:
    if evidence.metadata is None:
        return None
    endpoint = evidence.metadata.get("revocation_endpoint")
    return Passed(f"{endpoint}") if endpoint else Found(Severity.LOW, "no `revocation_endpoint`")


@CHECKS.add(
    "T68",
    "No implicit or password grant",
    "Tokens are sent in URLs, or users' passwords through clients (RFC 9700 section 2).",
    "Offer `authorization_code` and `refresh_token` only, and list them in the metadata.",
)
def no_legacy_grants(evidence: Evidence) -> Verdict:
    if evidence.metadata is None:
        return None
    grants = _list(evidence.metadata, "grant_types_supported")
    responses = _list(evidence.metadata, "response_types_supported") or []
    legacy = [name for name in grants or [] if name in {"implicit", "password"}]
    # `id_token` alone returns no access token.
    legacy += [name for name in responses if "token" in name.split()]
    if legacy:
        return Found(Severity.MEDIUM, f"offers {', '.join(legacy)}")
    # The default is `authorization_code` and `implicit` (RFC 8414 section 2).
    if grants is None:
        return Found(Severity.LOW, "`grant_types_supported` is missing, which means that implicit is offered")
    return Passed(", ".join(grants))


@CHECKS.add(
    "A6",
    "Everything outside this machine uses https",
    "Codes and tokens can be read on the network.",
    "Serve every endpoint over https, and put https URLs into the metadata.",
)
def https_everywhere(evidence: Evidence) -> Verdict:
    urls = {"the MCP endpoint": evidence.target.url}
    if evidence.issuer:
        urls["issuer"] = evidence.issuer
    for name in _ENDPOINTS:
        value = (evidence.metadata or {}).get(name)
        if isinstance(value, str):
            urls[name] = value
    plain = [name for name, url in urls.items() if not is_secure(url)]
    if plain:
        return Found(Severity.HIGH, f"not https: {', '.join(plain)}")
    return Passed("https, or on this machine")
