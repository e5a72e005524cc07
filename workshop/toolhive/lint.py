"""Check the rules of ToolHive before anything starts, also those that a cluster breaks without a message.

Sources: ToolHive 0.63.0, the CRD patterns, `controllerutil/authserver.go`
(validateOIDCConfigForEmbeddedAuthServer), `cmd/thv-operator/pkg/validation/url_validation.go` and
`pkg/authserver/server/crypto/keys.go`. The rules of ports and hosts follow from the port-forward.
"""

import ipaddress
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from workshop.core.errors import UsageError
from workshop.core.outgoing import web_url
from workshop.toolhive import fields
from workshop.toolhive.manifests import (
    CLIENT_ID_PLACEHOLDER,
    UPSTREAM_OAUTH,
    Resource,
    Resources,
    auth_config,
    oidc_config,
    seconds,
)
from workshop.toolhive.secrets import SecretFiles, auth_configs, client_secret_reference, references

# Seconds. These bounds of ToolHive are not in its CRDs, which have only a pattern.
_LIFESPAN_BOUNDS = {
    "accessTokenLifespan": (60, 24 * 3600),
    "refreshTokenLifespan": (3600, 30 * 24 * 3600),
    "authCodeLifespan": (30, 600),
}
_DOCUMENT_BOUNDS = (10, 24 * 3600)
_MOST_DOCUMENTS = 10_000
CALLBACK_PATH = "/oauth/callback"
DEFAULT_SCOPES = ("openid", "profile", "email", "offline_access")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SLASH_HINT = "The issuer does not end with a slash; audience and resourceUrl do"
# The first are never allowed; the private ones are allowed where `allowPrivateEndpoint` is true (since 0.47).
_INTERNAL_HOSTS = (
    "localhost",
    "kubernetes.default.svc.cluster.local",
    "kubernetes.default.svc",
    "kubernetes.default",
    "metadata.google.internal",
)
_PRIVATE_HOSTS = ("cluster.local",)
_INTERNAL_NETWORKS = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "::/128", "::1/128", "fe80::/10")
_PRIVATE_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
_HMAC_BYTES, _RSA_BITS = 32, 2048
_KEY_HINT = "Use an EC P-256 key: `openssl ecparam -name prime256v1 -genkey -noout`"

Refuse = Callable[[str, str], UsageError]


def check(resources: Resources) -> None:
    """Raise UsageError at the first unknown field or broken rule.

    A misspelt name comes first: the right one is missing, and some rule would report that. The other facts
    about fields come last, because a rule explains itself better than a pattern does.
    """
    for resource in resources.all:
        fields.check_names(resource)
    _check_names(resources)
    for server in resources.of("MCPServer"):
        _check_server(server, resources)
    for proxy in resources.of("MCPRemoteProxy"):
        _check_proxy(proxy, resources)
    for resource in resources.all:
        fields.check(resource)


def _check_names(resources: Resources) -> None:
    servers = [server.name for server in resources.of("MCPServer")]
    for proxy in resources.of("MCPRemoteProxy"):
        if proxy.name in servers:
            raise proxy.error(
                "has the same name as an MCPServer", "The operator would give both the same Deployment"
            )


def _check_server(server: Resource, resources: Resources) -> None:
    image = server.text("spec.image")
    if ":" not in image.rsplit("/", 1)[-1] or image.endswith(":latest"):
        raise server.error(
            f"`spec.image` needs a tag other than latest, not `{image}`",
            "Without one, the kubelet pulls the image and does not find the one that `workshop up` loaded",
        )
    if server.find("spec.transport") != "streamable-http":
        raise server.error("`spec.transport` must be `streamable-http` here")
    server.port("spec.proxyPort", 8080)
    server.port("spec.mcpPort", 8080)
    _check_tools(server, resources)


def _check_proxy(proxy: Resource, resources: Resources) -> None:
    if web_url(proxy.text("spec.remoteUrl")) is None:
        raise proxy.error("`spec.remoteUrl` must start with http:// or https://")
    _check_tools(proxy, resources)
    auth = auth_config(proxy, resources)
    if auth is None or proxy.find("spec.oidcConfigRef") is None:
        raise proxy.error(
            "has no `authServerRef` and `oidcConfigRef`, so anyone could use it",
            "Part 4's manifest shows both references",
        )
    if proxy.find("spec.authServerRef") and proxy.find("spec.externalAuthConfigRef"):
        raise proxy.error(
            "has both `authServerRef` and `externalAuthConfigRef`",
            "Keep `authServerRef`: with both, the operator never makes the proxy ready",
        )
    _check_auth_server(auth)
    _check_replicas(proxy, auth)
    _check_agreement(proxy, auth, oidc_config(proxy, resources))


def _check_auth_server(auth: Resource) -> None:
    if auth.text("spec.type") != "embeddedAuthServer":
        raise auth.error("`spec.type` must be `embeddedAuthServer` for a proxy's `authServerRef`")
    issuer = auth.text("spec.embeddedAuthServer.issuer")
    if issuer.endswith("/"):
        raise auth.error(f"the issuer `{issuer}` must not end with a slash", _SLASH_HINT)
    _check_issuer_scheme(auth, issuer)
    for name, (low, high) in _LIFESPAN_BOUNDS.items():
        text = auth.find(f"spec.embeddedAuthServer.tokenLifespans.{name}")
        if text is not None and not low <= (seconds(str(text)) or 0) <= high:
            raise auth.error(
                f"`tokenLifespans.{name}` must be a Go duration from {low}s to {high}s, not {text!r}"
            )
    _check_documents(auth)
    _check_confidential(auth, issuer)
    _check_registrations(auth)
    # Only a VirtualMCPServer may have several.
    upstreams = auth.items("spec.embeddedAuthServer.upstreamProviders")
    if len(upstreams) != 1:
        raise auth.error(f"needs exactly one upstream provider, not {len(upstreams)}")
    for field in (
        "authorizationEndpoint",
        "tokenEndpoint",
        "clientId",
        "clientSecretRef.name",
        "clientSecretRef.key",
    ):
        auth.text(f"{UPSTREAM_OAUTH}.{field}")


def _check_issuer_scheme(auth: Resource, issuer: str) -> None:
    parts = web_url(issuer)
    if parts is None:
        raise auth.error(f"the issuer `{issuer}` must start with http:// or https://")
    loopback = parts.hostname in _LOOPBACK or auth.find("spec.embeddedAuthServer.insecureAllowHTTP") is True
    if parts.scheme == "http" and not loopback:
        raise auth.error(
            f"the issuer `{issuer}` must start with https://; only localhost may use http",
            "Here it is `http://localhost:` and the forwarded port",
        )


def _check_confidential(auth: Resource, issuer: str) -> None:
    """ToolHive's `authserver.ValidateConfidentialClientTransport`: no secret is sent in the open."""
    server = auth.mapping("spec.embeddedAuthServer")
    if server.get("allowConfidentialClientRegistration") is not True:
        return
    if server.get("insecureAllowHTTP") is True:
        raise auth.error("`allowConfidentialClientRegistration` and `insecureAllowHTTP` exclude each other")
    over_http = issuer.startswith("http:")
    if over_http and server.get("insecureAllowConfidentialOverLoopbackHTTP") is not True:
        raise auth.error(
            "`allowConfidentialClientRegistration` needs an https issuer",
            "On loopback, `insecureAllowConfidentialOverLoopbackHTTP: true` allows http too",
        )


def _check_replicas(proxy: Resource, auth: Resource) -> None:
    stored = auth.find("spec.embeddedAuthServer.storage.type") or "memory"
    if stored == "memory" and proxy.find("spec.replicas") not in (None, 1):
        raise proxy.error(
            f"`replicas` must be 1, not {proxy.find('spec.replicas')!r}",
            "With `storage: {type: memory}`, each pod knows only its own logins",
        )


def _check_documents(auth: Resource) -> None:
    cimd = auth.mapping("spec.embeddedAuthServer.cimd")
    size, text = cimd.get("cacheMaxSize", 256), cimd.get("cacheFallbackTtl", "5m")
    if isinstance(size, int) and size > _MOST_DOCUMENTS:  # a bound of ours; ToolHive's is in `crds.json`
        raise auth.error(f"`cimd.cacheMaxSize` must be at most {_MOST_DOCUMENTS}, not {size!r}")
    low, high = _DOCUMENT_BOUNDS
    if not low <= (seconds(str(text)) or 0) <= high:
        raise auth.error(
            f"`cimd.cacheFallbackTtl` must be a Go duration from {low}s to {high}s, not {text!r}"
        )


def _check_registrations(auth: Resource) -> None:
    rate = auth.mapping("spec.embeddedAuthServer.registrationRateLimit")
    period = rate.get("refillPeriod")
    if rate and not (isinstance(period, str) and seconds(period)):
        raise auth.error(
            f"`registrationRateLimit.refillPeriod` must be a Go duration from 1s, not {period!r}"
        )


def _check_agreement(proxy: Resource, auth: Resource, oidc: Resource) -> None:
    issuer = auth.text("spec.embeddedAuthServer.issuer")
    if oidc.text("spec.inline.issuer") != issuer:
        raise oidc.error(
            f"`inline.issuer` differs from `{issuer}` in {auth.title}", "They are compared byte for byte"
        )
    audience = proxy.text("spec.oidcConfigRef.audience")
    resource = proxy.text("spec.oidcConfigRef.resourceUrl")
    # ToolHive issue #4860. The final slash is for clients whose URL type adds one to a bare origin.
    if audience != resource:
        raise proxy.error(
            f"audience `{audience}` and resourceUrl `{resource}` must be the same text", _SLASH_HINT
        )
    # Clients refuse metadata whose `resource` is not at or above their own URL (RFC 9728 section 3.3).
    if not resource.startswith(f"{issuer}/"):
        raise proxy.error(f"audience `{audience}` is not under the issuer `{issuer}`", _SLASH_HINT)
    _check_baseline(proxy, auth)
    port = proxy.port("spec.proxyPort", 8080)
    # In the pod, the issuer's `localhost` is the proxy itself, where it reads its own metadata and keys.
    if urlsplit(issuer).port != port:
        raise proxy.error(f"proxyPort {port} is not the port of the issuer `{issuer}`")
    redirect = auth.find(f"{UPSTREAM_OAUTH}.redirectUri")
    # ToolHive answers GitHub's redirect at this path only.
    if redirect not in (None, f"{issuer}{CALLBACK_PATH}"):
        raise auth.error(f"redirectUri must be `{issuer}{CALLBACK_PATH}`, not `{redirect}`")


def _check_baseline(proxy: Resource, auth: Resource) -> None:
    """ToolHive's authorization server does not start with a baseline scope that it does not support."""
    supported = proxy.items("spec.oidcConfigRef.scopes") or DEFAULT_SCOPES
    for scope in auth.items("spec.embeddedAuthServer.baselineClientScopes"):
        if scope not in supported:
            raise auth.error(
                f"`baselineClientScopes` has `{scope}`, which {proxy.title} does not support",
                f"Supported: {', '.join(map(str, supported))}",
            )


def _check_tools(workload: Resource, resources: Resources) -> None:
    if workload.find("spec.toolConfigRef"):
        resources.named("MCPToolConfig", workload.text("spec.toolConfigRef.name"), wanted_by=workload)


def check_for_cluster(resources: Resources, secrets: SecretFiles) -> None:
    """Raise UsageError at the first broken rule, also of those that only a cluster enforces.

    The resources are as they will be applied; the secrets that they refer to are checked too.
    """
    check(resources)
    for proxy in resources.of("MCPRemoteProxy"):
        _check_remote_host(proxy)
    for auth in auth_configs(resources):
        _check_client_id(auth)
        check_secrets(auth, secrets)


def check_secrets(auth: Resource, secrets: SecretFiles) -> None:
    """Raise UsageError for a secret of this auth config that is missing, or that ToolHive cannot use."""
    for field, examine in (("signingKeySecretRefs", _check_signing_key), ("hmacSecretRefs", _check_hmac)):
        for name, key in references(auth, f"spec.embeddedAuthServer.{field}"):
            examine(*_read(auth, secrets, name, key))
    _check_client_secret(*_read(auth, secrets, *client_secret_reference(auth)))


def _read(auth: Resource, secrets: SecretFiles, name: str, key: str) -> tuple[bytes, Refuse]:
    def refuse(problem: str, hint: str) -> UsageError:
        return auth.error(f"the secret `{name}`, key `{key}`, {problem}", hint)

    try:
        return secrets.path(name, key).read_bytes(), refuse
    except OSError as error:
        raise refuse("does not exist", "Without it the pod never starts; `workshop up` makes it") from error


def _check_signing_key(pem: bytes, refuse: Refuse) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    key = _private_key(pem)
    if key is None:
        raise refuse("is not a private key in PEM format without a passphrase", _KEY_HINT)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        raise refuse(
            "is an Ed25519 key: ToolHive loads it, then refuses every token signed with it", _KEY_HINT
        )
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < _RSA_BITS:
        raise refuse(f"is an RSA key of {key.key_size} bits; the minimum is {_RSA_BITS}", _KEY_HINT)
    curves = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
    if not isinstance(key, rsa.RSAPrivateKey) and not isinstance(getattr(key, "curve", None), curves):
        raise refuse("is neither an RSA key nor one on P-256, P-384 or P-521", _KEY_HINT)


def _private_key(pem: bytes) -> Any:  # noqa: ANN401 - one of a dozen unrelated key types
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _check_hmac(value: bytes, refuse: Refuse) -> None:
    if len(value) < _HMAC_BYTES:
        raise refuse(
            f"has {len(value)} bytes; the minimum is {_HMAC_BYTES}",
            "ToolHive uses them as they are: it does not trim them or decode base64",
        )


def _check_client_secret(value: bytes, refuse: Refuse) -> None:
    if not value.strip():
        raise refuse("is empty", "Set GITHUB_OAUTH_CLIENT_SECRET in `.env`")
    if value != value.strip():
        raise refuse(
            "begins or ends with a space or a line end, which would be sent too",
            "Check GITHUB_OAUTH_CLIENT_SECRET in `.env` for quotes and Windows line ends",
        )


def _check_client_id(auth: Resource) -> None:
    at_github = urlsplit(auth.text(f"{UPSTREAM_OAUTH}.authorizationEndpoint")).hostname == "github.com"
    if at_github and auth.find(f"{UPSTREAM_OAUTH}.clientId") == CLIENT_ID_PLACEHOLDER:
        raise auth.error(
            "`clientId` is still the placeholder, which GitHub does not know",
            "Set GITHUB_OAUTH_CLIENT_ID in `.env`, or use `--upstream practice`",
        )


def _check_remote_host(proxy: Resource) -> None:
    host = (urlsplit(proxy.text("spec.remoteUrl")).hostname or "").lower()
    if _is_internal(host, private_too=proxy.find("spec.allowPrivateEndpoint") is not True):
        raise proxy.error(
            f"`spec.remoteUrl` names `{host}`, which the operator refuses as internal",
            "Inside the cluster, use the name of a Service alone: `http://practice-github:8090/mcp/`",
        )


def _is_internal(host: str, *, private_too: bool) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # A bare Service name passes: the operator does not resolve names.
        names = _INTERNAL_HOSTS + (_PRIVATE_HOSTS if private_too else ())
        return any(host == name or host.endswith(f".{name}") for name in names)
    # `::ffff:10.0.0.1` reaches 10.0.0.1.
    address = getattr(address, "ipv4_mapped", None) or address
    networks = _INTERNAL_NETWORKS + (_PRIVATE_NETWORKS if private_too else ())
    return any(address in ipaddress.ip_network(network) for network in networks)
