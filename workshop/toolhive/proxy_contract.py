"""The answers that a running proxy must give, according to its manifests and secrets."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from secrets import token_hex as random_hex
from typing import Any

from workshop.toolhive.manifests import Resource, Resources, auth_config, oidc_config
from workshop.toolhive.secrets import SecretFiles, references

_NAMESPACE = "toolhive-system"
FORWARD_HINT = "Is the port-forward running? `workshop status` shows it"


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
    path: str
    issuer: str
    resource: str
    algorithms: Mapping[str, str]
    """The algorithm of each signing key, by its `kid`."""

    @classmethod
    def of(
        cls,
        proxy: Resource,
        resources: Resources,
        secrets: SecretFiles,
    ) -> "ProxyContract":
        """Read it from the resources as they were applied; the proxy is asked at its issuer's address."""
        auth = auth_config(proxy, resources)
        if auth is None:
            raise proxy.error("has no `authServerRef`")
        issuer = oidc_config(proxy, resources).text("spec.inline.issuer")
        return cls(
            name=proxy.name,
            namespace=proxy.find("metadata.namespace") or _NAMESPACE,
            base_url=issuer,
            path="/mcp",
            issuer=issuer,
            resource=proxy.text("spec.oidcConfigRef.resourceUrl"),
            algorithms=dict(
                _signing_key(secrets.path(name, key).read_bytes())
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
        return cls(url=url, tools=shown, hidden=f"hidden_{random_hex(4)}" if shown else "")


def _signing_key(pem: bytes) -> tuple[str, str]:
    """The `kid` that ToolHive gives a key (its RFC 7638 thumbprint), and the algorithm that it signs with."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from joserfc.jwk import ECKey, RSAKey

    key = load_pem_private_key(pem, None)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return ECKey.import_key(pem).thumbprint(), {256: "ES256", 384: "ES384"}.get(key.key_size, "ES512")
    return RSAKey.import_key(pem).thumbprint(), "RS256"


_MIDDLEWARE = "upstreamswap"
_HINT = (
    "Without it the proxy would send its own token to the upstream (ToolHive's issue #6681): "
    "is the operator the version of `cluster/versions.toml`, and `authServerRef` in the manifest?"
)


def check_token_swap(runconfig: str, provider: str) -> CheckResult:
    """Whether the proxy is configured to replace its own token by the one of this upstream provider.

    `runconfig` is the operator's text: key `runconfig.json` of the ConfigMap `<proxy>-runconfig`.
    """
    swaps = [item for item in _middlewares(runconfig) if item.get("type") == _MIDDLEWARE]
    passed = bool(swaps) and all(_replaces(swap, provider) for swap in swaps)
    if passed:
        return CheckResult("token-swap", passed=True, found=f"`{_MIDDLEWARE}` for `{provider}`")
    found = f"{json.dumps(swaps)[:200]}, not for `{provider}`" if swaps else "no such middleware"
    return CheckResult("token-swap", passed=False, found=f"`{_MIDDLEWARE}`: {found}", hint=_HINT)


def _replaces(swap: Mapping[str, Any], provider: str) -> bool:
    parameters = swap.get("parameters")
    config = parameters.get("config") if isinstance(parameters, Mapping) else None
    if not isinstance(config, Mapping):
        return False
    return config.get("provider_name") == provider and config.get("header_strategy") in (None, "", "replace")


def _middlewares(runconfig: str) -> Sequence[Mapping[str, Any]]:
    try:
        listed = json.loads(runconfig).get("middleware_configs")
    except (ValueError, AttributeError):
        return ()
    return [item for item in listed if isinstance(item, Mapping)] if isinstance(listed, list) else ()
