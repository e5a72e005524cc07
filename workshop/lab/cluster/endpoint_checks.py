"""The answers that a running proxy must give by its manifests and secrets, and the check of each."""

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2

from workshop import __version__
from workshop.core.http_client import open_local_client_sync
from workshop.lab.cluster.readiness import NAMESPACE
from workshop.toolhive.manifests import Resource, Resources, auth_config, oidc_config
from workshop.toolhive.secrets import SecretFiles, references

if TYPE_CHECKING:
    from mcp import Client

FORWARD_HINT = "Is the port-forward running? `workshop status` shows it"
PATH = "/mcp"
_METADATA = "/.well-known/oauth-protected-resource"
_STALE = "The pod runs with other settings than the manifests: `workshop part 4 apply`"
_STRANGER = "Something else answers here, or the proxy runs without its authorization server"
DEFECT = (
    "ToolHive's issue #6681: the proxy passes its own token on instead of the upstream's. "
    "Compare its version with `cluster/versions.toml`, and look for `upstreamswap` in its runconfig"
)
_MOST_PAGES = 50
_INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "workshop-status", "version": __version__},
    },
}


@dataclass(frozen=True)
class CheckResult:
    """One check of a running proxy: what it found, and what to do when it has not passed."""

    id: str
    passed: bool
    found: str
    hint: str = ""
    needs_login: bool = False


class MissedError(Exception):
    """A check has not passed; `needs_login` is true when only the login is missing."""

    def __init__(self, found: str, hint: str = "", *, needs_login: bool = False) -> None:
        super().__init__(found)
        self.found = found
        self.hint = hint
        self.needs_login = needs_login


@dataclass(frozen=True)
class ToolCall:
    """One call of a read-only tool, and a text that its answer must contain."""

    tool: str
    arguments: Mapping[str, Any]
    answer: str = ""


@dataclass(frozen=True, kw_only=True)
class ProxyContract:
    """An MCPRemoteProxy with an embedded authorization server, and its address on this machine."""

    name: str
    namespace: str
    base_url: str
    issuer: str
    resource: str
    algorithms: Mapping[str, str]
    """The algorithm of each signing key, by its `kid`."""

    @classmethod
    def of(
        cls,
        proxy: Resource,
        resources: Resources,
        files: SecretFiles,
    ) -> "ProxyContract":
        """Read it from the resources as they were applied; the proxy is asked at its issuer's address."""
        auth = auth_config(proxy, resources)
        if auth is None:
            raise proxy.error("has no `authServerRef`")
        issuer = oidc_config(proxy, resources).text("spec.inline.issuer")
        return cls(
            name=proxy.name,
            namespace=proxy.find("metadata.namespace") or NAMESPACE,
            base_url=issuer,
            issuer=issuer,
            resource=proxy.text("spec.oidcConfigRef.resourceUrl"),
            algorithms=dict(
                _signing_key(files.path(name, key).read_bytes())
                for name, key in references(auth, "spec.embeddedAuthServer.signingKeySecretRefs")
            ),
        )


@dataclass(frozen=True, kw_only=True)
class ServerContract:
    """An MCPServer behind its proxy: its URL, the tools that it lists, and the name of a tool that it hides.

    `hidden` may be any name: the filter refuses a tool that it does not list without asking the server.
    """

    url: str
    tools: frozenset[str] = frozenset()
    hidden: str = ""

    @classmethod
    def of(cls, server: Resource, resources: Resources, url: str) -> "ServerContract":
        """Read it from the resources; without a tool filter, any tools are right."""
        if not server.find("spec.toolConfigRef"):
            return cls(url=url)
        config = resources.named("MCPToolConfig", server.text("spec.toolConfigRef.name"), wanted_by=server)
        shown = frozenset(str(name) for name in config.items("spec.toolsFilter"))
        return cls(url=url, tools=shown, hidden=f"hidden_{secrets.token_hex(4)}" if shown else "")


def _signing_key(pem: bytes) -> tuple[str, str]:
    """The `kid` that ToolHive gives a key (its RFC 7638 thumbprint), and the algorithm that it signs with."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from joserfc.jwk import ECKey, RSAKey

    key = load_pem_private_key(pem, None)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return ECKey.import_key(pem).thumbprint(), {256: "ES256", 384: "ES384"}.get(key.key_size, "ES512")
    return RSAKey.import_key(pem).thumbprint(), "RS256"


async def health(http: httpx2.AsyncClient) -> str:
    """The proxy answers through the port-forward."""
    response = await http.get("/health")
    if response.status_code != httpx2.codes.OK:
        raise MissedError(f"/health answered {response.status_code}", "Who has this port? `workshop status`")
    return "200"


async def protected_resource(http: httpx2.AsyncClient, contract: ProxyContract) -> str:
    """The protected-resource metadata (RFC 9728) names audience and issuer, character for character."""
    document = await _document(http, _METADATA)
    _same("resource", document.get("resource"), contract.resource)
    _same("authorization_servers", document.get("authorization_servers"), [contract.issuer])
    return contract.resource


async def authorization_server(http: httpx2.AsyncClient, contract: ProxyContract) -> str:
    """The authorization server's metadata (RFC 8414): the issuer, PKCE, registration, public clients."""
    document = await _document(http, "/.well-known/oauth-authorization-server")
    _same("issuer", document.get("issuer"), contract.issuer)
    for field in ("authorization_endpoint", "token_endpoint", "registration_endpoint", "jwks_uri"):
        if not str(document.get(field, "")).startswith(f"{contract.issuer}/"):
            raise MissedError(f"`{field}` is {document.get(field)!r}, not under {contract.issuer}", _STALE)
    for field, wanted in (
        ("code_challenge_methods_supported", "S256"),
        ("token_endpoint_auth_methods_supported", "none"),
    ):
        found = document.get(field)
        if not isinstance(found, list) or wanted not in found:
            raise MissedError(f"`{field}` is {found!r}, without `{wanted}`", _STRANGER)
    return contract.issuer


async def signing_keys(http: httpx2.AsyncClient, contract: ProxyContract) -> str:
    """The published keys are those of the secret; another `kid` means a pod with an old secret."""
    found = await _published_keys(http)
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
    response = await http.post(PATH, json=ping, headers=accept)
    if response.status_code != httpx2.codes.UNAUTHORIZED:
        hint = "Anyone can use it: the manifests' `authServerRef` and `oidcConfigRef` have not taken effect"
        raise MissedError(
            f"A request without a token was answered {response.status_code}, not 401",
            hint if response.is_success else _STRANGER,
        )
    metadata = challenged_metadata(response)
    if not metadata.startswith(f"{contract.issuer}{_METADATA}"):
        raise MissedError(f"The 401 names {metadata or 'no metadata'}", _STALE)
    return f"401, {metadata}"


async def access_token(http: httpx2.AsyncClient, contract: ProxyContract, token: str) -> str:
    """The token is signed by a published key, valid, for this resource, and part of a session."""
    claims = await _claims(http, token, set(contract.algorithms.values()))
    _same("iss", claims.get("iss"), contract.issuer)
    audience = claims.get("aud")
    _same("aud", [audience] if isinstance(audience, str) else audience, [contract.resource])
    expires, session = claims.get("exp"), claims.get("tsid")
    if not isinstance(expires, int | float) or expires <= time.time():
        raise MissedError(f"`exp` is {expires!r}, which is in the past", "Sign in again", needs_login=True)
    if not session:
        raise MissedError("The token has no `tsid`", "Without it the proxy cannot find the upstream's token")
    return f"for {contract.resource}, {int(expires - time.time())} s left"


def failing(url: str, seconds: float) -> str:
    """What is wrong with an MCP endpoint's first answer, in a few words; empty for a valid answer.

    A refusal because of a missing login is a valid answer.
    """
    headers = {"Accept": "application/json, text/event-stream"}
    try:
        with (
            open_local_client_sync(timeout=seconds, headers=headers) as http,
            http.stream("POST", url, json=_INITIALIZE) as response,
        ):
            if opened := response.headers.get("mcp-session-id"):
                http.delete(url, headers={"mcp-session-id": opened})
            wrong = response.is_server_error or response.status_code == httpx2.codes.NOT_FOUND
            return f"MCP requests fail with {response.status_code}" if wrong else ""
    except httpx2.TransportError as error:
        return f"MCP requests get no answer: {str(error) or type(error).__name__}"


async def has_tools(client: "Client") -> str:
    """There is at least one tool; no tool is a known defect of a remote proxy."""
    tools = await _tools_of(client)
    if not tools:
        raise MissedError("You are signed in, but there are no tools", DEFECT)
    return f"{len(tools)} tools"


async def exact_tools(client: "Client", contract: ServerContract) -> str:
    """The tools are those of the MCPToolConfig, and a name it hides cannot be called."""
    tools = await _tools_of(client)
    if not tools or (contract.tools and tools != contract.tools):
        missing, extra = sorted(contract.tools - tools), sorted(tools - contract.tools)
        raise MissedError(
            f"Missing: {', '.join(missing) or 'none'}; not expected: {', '.join(extra) or 'none'}",
            "The pod runs with another MCPToolConfig than the manifests: apply them again",
        )
    if contract.hidden and not await _is_refused(client, contract.hidden):
        raise MissedError(
            f"A call of `{contract.hidden}`, which is not listed, reaches the server",
            "The tool filter is not in force: `kubectl describe mcptoolconfig`",
        )
    return ", ".join(sorted(tools))


async def calls(client: "Client", call: ToolCall) -> str:
    """A call that only reads is answered correctly."""
    result = await client.call_tool(call.tool, dict(call.arguments))
    text = " ".join(getattr(block, "text", "") for block in result.content)
    if result.is_error:
        raise MissedError(
            f"`{call.tool}` answered with an error: {text[:200]}", "The server's log shows more"
        )
    if call.answer not in text:
        found = f"`{call.tool}` answered {text[:200]!r}, without {call.answer!r}"
        raise MissedError(found, "Is it this server that answers here, and this account that signed in?")
    return f"`{call.tool}` answered"


def calculation() -> ToolCall:
    """A sum of two random numbers for part 3, which no cache and no other server can answer."""
    a, b = (secrets.randbelow(1_000_000) for _ in range(2))
    return ToolCall("calculate", {"operation": "add", "a": a, "b": b}, str(a + b))


async def _published_keys(http: httpx2.AsyncClient) -> list[dict[str, Any]]:
    """The keys of the JWK set."""
    keys = (await _document(http, "/.well-known/jwks.json")).get("keys")
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise MissedError("The JWK set has no `keys`", _STRANGER)
    return keys


def challenged_metadata(response: httpx2.Response) -> str:
    """The `resource_metadata` of a WWW-Authenticate header, empty without one."""
    found = re.search(r'resource_metadata="([^"]*)"', response.headers.get("www-authenticate", ""))
    return found[1] if found else ""


def _same(name: str, found: object, wanted: object) -> None:
    """Raise MissedError unless both are equal, with both."""
    if found != wanted:
        raise MissedError(f"`{name}` is {found!r}, not {wanted!r}", _STALE)


async def _claims(http: httpx2.AsyncClient, token: str, algorithms: set[str]) -> dict[str, Any]:
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet

    try:
        keys = KeySet.import_key_set({"keys": await _published_keys(http)})
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
        raise MissedError(f"{path} answered {response.status_code}", _STRANGER)
    try:
        document = response.json()
    except ValueError as error:
        raise MissedError(f"{path} is not JSON", _STRANGER) from error
    if not isinstance(document, dict):
        raise MissedError(f"{path} is not a JSON object", _STRANGER)
    return document


def _listed(algorithms: object) -> str:
    items = algorithms.items() if isinstance(algorithms, dict) else ()
    return ", ".join(f"{kid[:8]}… ({algorithm})" for kid, algorithm in items) or "none"


async def _tools_of(client: "Client") -> frozenset[str]:
    """The names of all tools."""
    found: set[str] = set()
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        found |= {tool.name for tool in page.tools}
        cursor = page.next_cursor
        if not cursor:
            break
    return frozenset(found)


async def _is_refused(client: "Client", tool: str) -> bool:
    from mcp import MCPError

    try:
        await client.call_tool(tool, {})
    except MCPError as error:
        return "not found" in error.message.lower()  # the filter's message; the server's is "Unknown tool"
    return False
