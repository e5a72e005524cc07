"""Check the rules of ToolHive for an embedded authorization server, before anything starts.

Sources: ToolHive 0.63.0, the CRD patterns and `controllerutil/authserver.go`
(validateOIDCConfigForEmbeddedAuthServer). The rules of ports and hosts follow from the port-forward.
"""

from urllib.parse import SplitResult, urlsplit

from workshop.toolhive import fields
from workshop.toolhive.manifests import UPSTREAM_OAUTH, Resource, Resources, seconds

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


def auth_config(proxy: Resource, resources: Resources) -> Resource | None:
    """The MCPExternalAuthConfig that a proxy refers to, or None when it refers to none."""
    for reference in ("authServerRef", "externalAuthConfigRef"):
        if proxy.find(f"spec.{reference}"):
            name = proxy.text(f"spec.{reference}.name")
            return resources.named("MCPExternalAuthConfig", name, wanted_by=proxy)
    return None


def oidc_config(proxy: Resource, resources: Resources) -> Resource:
    """The MCPOIDCConfig a proxy refers to."""
    return resources.named("MCPOIDCConfig", proxy.text("spec.oidcConfigRef.name"), wanted_by=proxy)


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
    remote = _split(proxy.text("spec.remoteUrl"))
    if remote is None or remote.scheme not in ("http", "https") or not remote.hostname:
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
    parts = _split(issuer)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
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
    if audience != resource:
        raise proxy.error(
            f"audience `{audience}` and resourceUrl `{resource}` must be the same text", _SLASH_HINT
        )
    if not resource.startswith(f"{issuer}/"):
        raise proxy.error(f"audience `{audience}` is not under the issuer `{issuer}`", _SLASH_HINT)
    _check_baseline(proxy, auth)
    port = proxy.port("spec.proxyPort", 8080)
    parts = _split(issuer)
    if parts is None or parts.port != port:
        raise proxy.error(f"proxyPort {port} is not the port of the issuer `{issuer}`")
    redirect = auth.find(f"{UPSTREAM_OAUTH}.redirectUri")
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


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # an open bracket, or a port that is not a number
        return None
    return parts


def _check_tools(workload: Resource, resources: Resources) -> None:
    if workload.find("spec.toolConfigRef"):
        resources.named("MCPToolConfig", workload.text("spec.toolConfigRef.name"), wanted_by=workload)
