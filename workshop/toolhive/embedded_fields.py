"""Which fields the embedded backend acts on, which it ignores, and the refusal of every other one.

This is the one list of them; `workshop help backends` and the README show it to people. A field without a
meaning here is refused, because a manifest that is silently half obeyed teaches something wrong, and may
leave a server open that the manifest protects.
"""

from collections.abc import Iterator, Mapping, Sequence

from workshop.toolhive.manifests import Resources

_AUTH = "spec.embeddedAuthServer"
_UPSTREAM = f"{_AUTH}.upstreamProviders.*"
ACTED_ON: Mapping[str, Sequence[str]] = {
    "MCPServer": ("spec.transport", "spec.env", "spec.secrets", "spec.toolConfigRef"),
    "MCPRemoteProxy": (
        *("spec.remoteUrl", "spec.transport", "spec.proxyPort", "spec.replicas", "spec.authServerRef"),
        *("spec.externalAuthConfigRef", "spec.oidcConfigRef", "spec.headerForward", "spec.toolConfigRef"),
    ),
    "MCPOIDCConfig": ("spec.type", "spec.inline.issuer"),
    "MCPExternalAuthConfig": (
        *("spec.type", f"{_AUTH}.issuer", f"{_AUTH}.signingKeySecretRefs", f"{_AUTH}.hmacSecretRefs"),
        *(f"{_AUTH}.tokenLifespans", f"{_AUTH}.registrationRateLimit", f"{_AUTH}.storage.type"),
        *(f"{_AUTH}.storage.maxDCRClients", f"{_AUTH}.baselineClientScopes", f"{_AUTH}.cimd"),
        *(f"{_AUTH}.allowConfidentialClientRegistration", f"{_UPSTREAM}.name", f"{_UPSTREAM}.type"),
        f"{_AUTH}.insecureAllowConfidentialOverLoopbackHTTP",
        *(f"{_UPSTREAM}.oauth2Config.{name}" for name in ("authorizationEndpoint", "tokenEndpoint")),
        *(f"{_UPSTREAM}.oauth2Config.{name}" for name in ("clientId", "clientSecretRef", "redirectUri")),
        *(f"{_UPSTREAM}.oauth2Config.{name}" for name in ("scopes", "userInfo")),
    ),
    "MCPToolConfig": ("spec.toolsFilter", "spec.toolsOverride"),
}
IGNORED: Mapping[str, Sequence[str]] = {
    "MCPServer": (
        *("spec.image", "spec.mcpPort", "spec.proxyPort", "spec.podTemplateSpec", "spec.resources"),
        *("spec.resourceOverrides", "spec.serviceAccount", "spec.permissionProfile", "spec.replicas"),
        *("spec.backendReplicas", "spec.sessionAffinity", "spec.groupRef"),
    ),
    "MCPRemoteProxy": (
        *("spec.podTemplateSpec", "spec.resources", "spec.resourceOverrides", "spec.serviceAccount"),
        *("spec.sessionAffinity", "spec.groupRef", "spec.allowPrivateEndpoint"),
    ),
    "MCPOIDCConfig": (
        *("spec.inline.insecureAllowHTTP", "spec.inline.jwksAllowPrivateIP"),
        "spec.inline.protectedResourceAllowPrivateIP",
    ),
    "MCPExternalAuthConfig": (
        # ToolHive itself ignores the second for a proxy, which has one upstream.
        *(f"{_AUTH}.insecureAllowHTTP", f"{_AUTH}.primaryUpstreamProvider"),
        *(f"{_UPSTREAM}.oauth2Config.{name}" for name in ("insecureAllowHTTP", "allowPrivateIPs")),
    ),
}
"""Fields of pods, Services and the cluster's network; without a cluster they make no difference."""


def check(resources: Resources) -> None:
    """Raise UsageError at the first field that has a value here and no meaning."""
    for resource in resources.all:
        known = (*ACTED_ON.get(resource.kind, ()), *IGNORED.get(resource.kind, ()))
        for path in _strangers(resource.body.get("spec"), "spec", "spec", known) if known else ():
            raise resource.error(
                f"`{path}` has no meaning in the embedded backend", "Remove it, or use `up --backend kind`"
            )


def _strangers(value: object, path: str, rule: str, known: Sequence[str]) -> Iterator[str]:
    """The paths of fields that are not known; `rule` is the path with `*` for the entries of a list."""
    if rule in known or value in (None, False, "", [], {}):
        return
    if not any(each.startswith(f"{rule}.") for each in known):
        yield path
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _strangers(inner, f"{path}.{name}", f"{rule}.{name}", known)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _strangers(inner, f"{path}.{index}", f"{rule}.*", known)
