"""Authorization server metadata (RFC 8414): what clients rely on, and what should not be offered."""

from collections.abc import Mapping
from typing import Any

from workshop.audit.probe.evidence import Evidence
from workshop.audit.probe.target import is_secure
from workshop.audit.probe.verdicts import Check, Found, Passed, Severity, Verdict

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


def described(seen: Evidence) -> Verdict:
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
        "A2",
        "The authorization server has metadata",
        "MCP clients cannot find its endpoints.",
        "Serve `/.well-known/oauth-authorization-server` (RFC 8414), with the issuer's path behind it.",
        described,
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
