"""The HTTP checks of a proxy before any login, and of a token after a login."""

import re
import time
from typing import Any

import httpx2

from workshop.toolhive.proxy_contract import MissedError, ProxyContract

_METADATA = "/.well-known/oauth-protected-resource"
STALE = "The pod runs with other settings than the manifests: `workshop part 4 apply`"
STRANGER = "Something else answers here, or the proxy runs without its authorization server"


async def health(http: httpx2.AsyncClient) -> str:
    """The proxy answers through the port-forward."""
    response = await http.get("/health")
    if response.status_code != httpx2.codes.OK:
        raise MissedError(f"/health answered {response.status_code}", "Who has this port? `workshop status`")
    return "200"


async def protected_resource(http: httpx2.AsyncClient, contract: ProxyContract) -> str:
    """The protected-resource metadata (RFC 9728) names audience and issuer, character for character."""
    document = await _document(http, _METADATA)
    same("resource", document.get("resource"), contract.resource)
    same("authorization_servers", document.get("authorization_servers"), [contract.issuer])
    return contract.resource


async def authorization_server(http: httpx2.AsyncClient, contract: ProxyContract) -> str:
    """The authorization server's metadata (RFC 8414): the issuer, PKCE, registration, public clients."""
    document = await _document(http, "/.well-known/oauth-authorization-server")
    same("issuer", document.get("issuer"), contract.issuer)
    for field in ("authorization_endpoint", "token_endpoint", "registration_endpoint", "jwks_uri"):
        if not str(document.get(field, "")).startswith(f"{contract.issuer}/"):
            raise MissedError(f"`{field}` is {document.get(field)!r}, not under {contract.issuer}", STALE)
    for field, wanted in (
        ("code_challenge_methods_supported", "S256"),
        ("token_endpoint_auth_methods_supported", "none"),
    ):
        offered = document.get(field)
        if not isinstance(offered, list) or wanted not in offered:
            raise MissedError(f"`{field}` is {offered!r}, without `{wanted}`", STRANGER)
    return contract.issuer


async def signing_keys(http: httpx2.AsyncClient, contract: ProxyContract) -> str:
    """The published keys are those of the secret; another `kid` means a pod with an old secret."""
    found = await published_keys(http)
    if any("d" in key for key in found):
        raise MissedError("A private key is published", "Make a new signing key at once: `workshop teardown`")
    algorithms = {str(key.get("kid")): str(key.get("alg")) for key in found}
    if algorithms != contract.algorithms or len(found) != len(algorithms):
        replace = f"kubectl delete pod -n {contract.namespace} -l app.kubernetes.io/instance={contract.name}"
        raise MissedError(
            f"The keys are {_listed(algorithms)}, the secret's {_listed(contract.algorithms)}",
            f"The pod still runs on an old secret: `{replace}`",
        )
    return _listed(algorithms)


async def challenge(http: httpx2.AsyncClient, contract: ProxyContract) -> str:
    """Without a token, the proxy answers 401 and names the URL of its metadata."""
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    accept = {"Accept": "application/json, text/event-stream"}
    response = await http.post(contract.path, json=ping, headers=accept)
    if response.status_code != httpx2.codes.UNAUTHORIZED:
        hint = "Anyone can use it: the manifests' `authServerRef` and `oidcConfigRef` have not taken effect"
        raise MissedError(
            f"A request without a token was answered {response.status_code}, not 401",
            hint if response.is_success else STRANGER,
        )
    metadata = challenged_metadata(response)
    if not metadata.startswith(f"{contract.issuer}{_METADATA}"):
        raise MissedError(f"The 401 names the metadata {metadata or 'nowhere'}", STALE)
    return f"401, {metadata}"


async def access_token(http: httpx2.AsyncClient, contract: ProxyContract, token: str) -> str:
    """The token is signed by a published key, valid, for this resource, and part of a session."""
    claims = await _claims(http, token, set(contract.algorithms.values()))
    same("iss", claims.get("iss"), contract.issuer)
    audience = claims.get("aud")
    same("aud", [audience] if isinstance(audience, str) else audience, [contract.resource])
    expires, session = claims.get("exp"), claims.get("tsid")
    if not isinstance(expires, int | float) or expires <= time.time():
        raise MissedError(f"`exp` is {expires!r}, which is in the past", "Sign in again", needs_login=True)
    if not session:
        raise MissedError("The token has no `tsid`", "Without it the proxy cannot find the upstream's token")
    return f"for {contract.resource}, {int(expires - time.time())} s left"


async def published_keys(http: httpx2.AsyncClient) -> list[dict[str, Any]]:
    """The keys of the JWK set."""
    keys = (await _document(http, "/.well-known/jwks.json")).get("keys")
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise MissedError("The JWK set has no `keys`", STRANGER)
    return keys


def challenged_metadata(response: httpx2.Response) -> str:
    """The `resource_metadata` of a WWW-Authenticate header, empty without one."""
    found = re.search(r'resource_metadata="([^"]*)"', response.headers.get("www-authenticate", ""))
    return found[1] if found else ""


def same(name: str, found: object, wanted: object) -> None:
    """Raise MissedError unless both are equal, with both."""
    if found != wanted:
        raise MissedError(f"`{name}` is {found!r}, not {wanted!r}", STALE)


async def _claims(http: httpx2.AsyncClient, token: str, algorithms: set[str]) -> dict[str, Any]:
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet

    try:
        keys = KeySet.import_key_set({"keys": await published_keys(http)})
        return jwt.decode(token, keys, algorithms=sorted(algorithms)).claims
    except (JoseError, ValueError) as error:
        raise MissedError(
            f"The token is not one of this proxy's ({type(error).__name__})",
            "Its signing key changed since: sign in again",
            needs_login=True,
        ) from error


async def _document(http: httpx2.AsyncClient, path: str) -> dict[str, Any]:
    response = await http.get(path)
    if response.status_code != httpx2.codes.OK:
        raise MissedError(f"{path} answered {response.status_code}", STRANGER)
    try:
        document = response.json()
    except ValueError as error:
        raise MissedError(f"{path} is not JSON", STRANGER) from error
    if not isinstance(document, dict):
        raise MissedError(f"{path} is not a JSON object", STRANGER)
    return document


def _listed(algorithms: object) -> str:
    items = algorithms.items() if isinstance(algorithms, dict) else ()
    return ", ".join(f"{kid[:8]}… ({algorithm})" for kid, algorithm in items) or "none"
