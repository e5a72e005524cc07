"""What a running proxy must answer, as its manifests and secrets say it."""

from collections.abc import Mapping
from dataclasses import dataclass
from secrets import token_hex as random_hex
from typing import Any

from workshop.toolhive.lint import CALLBACK_PATH, auth_config, oidc_config
from workshop.toolhive.manifests import Resource, Resources
from workshop.toolhive.secrets import SecretFiles, references

_UPSTREAM = "spec.embeddedAuthServer.upstreamProviders.0.oauth2Config"
_NAMESPACE = "toolhive-system"
FORWARD_HINT = "Does the port-forward live? `workshop status`"


@dataclass(frozen=True)
class CheckResult:
    """One check of a running proxy: what was found, and what to do where it has not passed."""

    id: str
    passed: bool
    found: str
    hint: str = ""
    needs_login: bool = False


class MissedError(Exception):
    """A check has not passed; `needs_login` when nothing is wrong but that nobody is signed in."""

    def __init__(self, found: str, hint: str = "", *, needs_login: bool = False) -> None:
        super().__init__(found)
        self.found = found
        self.hint = hint
        self.needs_login = needs_login


@dataclass(frozen=True)
class ToolCall:
    """One call of a tool that only reads, and a text that its answer must hold."""

    tool: str
    arguments: Mapping[str, Any]
    answer: str = ""


@dataclass(frozen=True, kw_only=True)
class ProxyContract:
    """An MCPRemoteProxy with an embedded authorization server, and where it is reached from here."""

    name: str
    namespace: str
    base_url: str
    path: str
    issuer: str
    resource: str
    algorithms: Mapping[str, str]
    """The algorithm of each signing key, by its `kid`."""
    upstream_endpoint: str
    upstream_client_id: str
    redirect_uri: str

    @classmethod
    def of(
        cls,
        proxy: Resource,
        resources: Resources,
        secrets: SecretFiles,
        *,
        base_url: str = "",
        path: str = "/mcp",
    ) -> "ProxyContract":
        """Read it from the resources as they were applied; without a `base_url` it is at its issuer."""
        auth = auth_config(proxy, resources)
        if auth is None:
            raise proxy.error("has no `authServerRef`")
        issuer = oidc_config(proxy, resources).text("spec.inline.issuer")
        return cls(
            name=proxy.name,
            namespace=proxy.find("metadata.namespace") or _NAMESPACE,
            base_url=base_url or issuer,
            path=path,
            issuer=issuer,
            resource=proxy.text("spec.oidcConfigRef.resourceUrl"),
            algorithms=dict(
                _signing_key(secrets.path(name, key).read_bytes())
                for name, key in references(auth, "spec.embeddedAuthServer.signingKeySecretRefs")
            ),
            upstream_endpoint=auth.text(f"{_UPSTREAM}.authorizationEndpoint"),
            upstream_client_id=auth.text(f"{_UPSTREAM}.clientId"),
            redirect_uri=auth.find(f"{_UPSTREAM}.redirectUri") or f"{issuer}{CALLBACK_PATH}",
        )


@dataclass(frozen=True, kw_only=True)
class ServerContract:
    """An MCPServer behind its proxy: where it is reached, which tools it shows, and a name that it does not.

    Any name will do for `hidden`: a filter refuses what it does not show without asking the server.
    """

    url: str
    tools: frozenset[str] = frozenset()
    hidden: str = ""

    @classmethod
    def of(cls, server: Resource, resources: Resources, url: str) -> "ServerContract":
        """Read it from the resources; without a tool filter any tools will do."""
        if not server.find("spec.toolConfigRef"):
            return cls(url=url)
        config = resources.named("MCPToolConfig", server.text("spec.toolConfigRef.name"), wanted_by=server)
        shown = frozenset(str(name) for name in config.items("spec.toolsFilter"))
        return cls(url=url, tools=shown, hidden=f"hidden_{random_hex(4)}" if shown else "")


def _signing_key(pem: bytes) -> tuple[str, str]:
    """The `kid` ToolHive gives a key, its RFC 7638 thumbprint, and the algorithm it signs with."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from joserfc.jwk import ECKey, RSAKey

    key = load_pem_private_key(pem, None)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return ECKey.import_key(pem).thumbprint(), {256: "ES256", 384: "ES384"}.get(key.key_size, "ES512")
    return RSAKey.import_key(pem).thumbprint(), "RS256"
