"""Change manifests before they are applied: the port, the OAuth app, the address of GitHub."""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from workshop.toolhive.manifests import Resource, Resources, auth_config

# Fields of newer versions, which `up` leaves out where an older operator is on the cluster.
OPTIONAL_FIELDS = (
    "spec.embeddedAuthServer.registrationRateLimit",
    "spec.embeddedAuthServer.storage.maxDCRClients",
)
_CONTAINER = {"MCPRemoteProxy": "toolhive", "VirtualMCPServer": "vmcp"}  # its name in the pod
GATEWAY_PORT = 4483  # of every VirtualMCPServer's pod and Service
_WITH_LOGIN = tuple(_CONTAINER)
# Each second, for the 90 s that ToolHive gives it to start. A delay of 0 would count as an absent field.
_EARLY = {
    "startupProbe": {"periodSeconds": 1, "failureThreshold": 90},
    "readinessProbe": {"initialDelaySeconds": 1},
}
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"  # Debian's bundle, as kind's nodes have it


def with_gateway_port(resources: Resources, name: str, port: int) -> Resources:
    """Move a remote proxy, its issuer, audience and callback to another localhost port."""
    proxy = next(found for found in resources.of("MCPRemoteProxy") if found.name == name)
    auth = auth_config(proxy, resources)
    if auth is None:
        return resources
    old = auth.text("spec.embeddedAuthServer.issuer")
    new = f"{urlsplit(old).scheme}://{urlsplit(old).hostname}:{port}"
    moved = _replace_prefix(resources, old, new)
    return _edit(moved, lambda body: _put(body, "spec.proxyPort", port), "MCPRemoteProxy", name=name)


def with_virtual_server_port(resources: Resources, port: int) -> Resources:
    """Move the gateways, their issuers, audiences and callbacks to another localhost port.

    Their pods keep their port, at which they find their own keys.
    """
    if port == GATEWAY_PORT:
        return resources
    old = f"http://localhost:{GATEWAY_PORT}"

    def edit(body: dict[str, Any]) -> None:
        _put(body, "spec.inline.jwksUrl", f"{old}/.well-known/jwks.json")

    return _edit(_replace_prefix(resources, old, f"http://localhost:{port}"), edit, "MCPOIDCConfig")


def with_practice_github(resources: Resources, origin: str, client_id: str) -> Resources:
    """Point every GitHub address at the practice GitHub; nothing else about the flow changes."""
    for github, practice in (
        ("https://github.com/", f"{origin}/"),
        ("https://api.github.com/", f"{origin}/"),
        ("https://api.githubcopilot.com/", f"{origin}/"),
    ):
        resources = _replace_prefix(resources, github, practice)

    # ToolHive otherwise refuses plain http, and the private address of a Service.
    plain = {"insecureAllowHTTP": True, "allowPrivateIPs": True}
    resources = _edit_upstreams(resources, lambda upstream: upstream.update(plain))
    return with_client_id(resources, client_id)


def with_practice_in_cluster(
    resources: Resources, *, service_origin: str, browser_origin: str, client_id: str, login: str = ""
) -> Resources:
    """Point each GitHub address at the practice GitHub's Service, and the browser's at the port-forward.

    With a `login`, its page has the button of this user only.
    The proxy reads the identity of the user over plain http, which ToolHive allows beyond loopback only where
    `INSECURE_DISABLE_URL_VALIDATION` is set. This costs nothing here: the OAuth endpoints use http too.
    """
    resources = with_practice_github(resources, service_origin, client_id)

    def edit(upstream: dict[str, Any]) -> None:
        endpoint = upstream["authorizationEndpoint"]
        upstream["authorizationEndpoint"] = _moved_url(endpoint, f"{service_origin}/", f"{browser_origin}/")
        if login:
            upstream["additionalAuthorizationParams"] = {"login": login}

    resources = _edit_upstreams(resources, edit)
    return _with_proxy_environment(resources, _WITH_LOGIN, "INSECURE_DISABLE_URL_VALIDATION", "true")


def without_usage_metrics(resources: Resources) -> Resources:
    """Turn off the usage metrics that a proxy sends by default (ToolHive's `pkg/usagemetrics`)."""
    kinds = ("MCPServer", *_WITH_LOGIN)
    return _with_proxy_environment(resources, kinds, "TOOLHIVE_USAGE_METRICS_ENABLED", "false")


def with_node_authorities(resources: Resources) -> Resources:
    """Let the remote proxy trust the authorities of its node, for networks with certificates of their own.

    Not by `caBundleRef` (ToolHive 0.47 and later), which covers the authorization server's calls alone: the
    connection to the remote MCP server is signed too, and an older operator does not know the field.
    An outgoing HTTP proxy is not passed on: ToolHive asks GitHub for tokens without one (0.63.0,
    `pkg/networking/http_client.go`), so that a login would fail in any case.
    """
    mount = {"name": "authorities", "mountPath": _AUTHORITIES, "readOnly": True}
    volume = {"name": "authorities", "hostPath": {"path": _AUTHORITIES, "type": "File"}}

    def edit(body: dict[str, Any]) -> None:
        patch = _container(body)
        template = body["spec"]["podTemplateSpec"]["spec"]
        template["volumes"] = [*template.get("volumes", ()), volume]
        patch["volumeMounts"] = [*patch.get("volumeMounts", ()), mount]

    resources = _edit(resources, edit, *_WITH_LOGIN)
    return _with_proxy_environment(resources, _WITH_LOGIN, "SSL_CERT_FILE", _AUTHORITIES)


def with_early_probes(resources: Resources) -> Resources:
    """Let a remote proxy become ready as soon as it answers: ToolHive first probes it 15 s after its start.

    The startup probe makes the same request each second. What a manifest sets for these probes stays.
    """

    def edit(body: dict[str, Any]) -> None:
        patch = _container(body)
        for probe, changes in _EARLY.items():
            patch[probe] = {**changes, **patch.get(probe, {})}

    return _edit(resources, edit, "MCPRemoteProxy")


def with_client_id(resources: Resources, client_id: str) -> Resources:
    """Use another OAuth app's client id."""
    return _edit_upstreams(resources, lambda upstream: upstream.update(clientId=client_id))


def _edit_upstreams(resources: Resources, change: Callable[[dict[str, Any]], None]) -> Resources:
    """Change the OAuth settings of each authorization server's upstream, an auth config's or a gateway's."""

    def edit(body: dict[str, Any]) -> None:
        spec = body["spec"]
        server = spec.get("embeddedAuthServer") or spec.get("authServerConfig")
        if server:
            change(server["upstreamProviders"][0].setdefault("oauth2Config", {}))

    return _edit(resources, edit, "MCPExternalAuthConfig", "VirtualMCPServer")


def _container(body: dict[str, Any]) -> dict[str, Any]:
    """The patch for the one container of a proxy or gateway; added when it is missing."""
    name = _CONTAINER[body["kind"]]
    template = body["spec"].setdefault("podTemplateSpec", {}).setdefault("spec", {})
    containers: list[dict[str, Any]] = template.setdefault("containers", [])
    patch = next((container for container in containers if container["name"] == name), None)
    if patch is None:
        containers.append(patch := {"name": name})
    return patch


def without(resource: Resource, path: str) -> Resource:
    """The resource without the field at a dotted path."""
    body = copy.deepcopy(dict(resource.body))
    *parents, last = path.split(".")
    parent: Any = body
    for key in parents:
        parent = parent[key]
    del parent[last]
    return replace(resource, body=body)


def _with_proxy_environment(resources: Resources, kinds: Iterable[str], name: str, value: str) -> Resources:
    def edit(body: dict[str, Any]) -> None:
        if body["kind"] == "VirtualMCPServer":  # it has no `resourceOverrides`
            proxy = _container(body)
        else:
            proxy = body["spec"].setdefault("resourceOverrides", {}).setdefault("proxyDeployment", {})
        others = [item for item in proxy.get("env", ()) if item["name"] != name]
        proxy["env"] = [*others, {"name": name, "value": value}]

    return _edit(resources, edit, *kinds)


def _replace_prefix(resources: Resources, old: str, new: str) -> Resources:
    def moved(value: object) -> object:
        if isinstance(value, Mapping):
            return {key: moved(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [moved(inner) for inner in value]
        return _moved_url(value, old, new) if isinstance(value, str) else value

    def body_of(resource: Resource) -> Mapping[str, Any]:
        # Names and labels are not addresses, even if they look like one.
        return {key: moved(value) if key == "spec" else value for key, value in resource.body.items()}

    return Resources(tuple(replace(found, body=body_of(found)) for found in resources.all))


def _moved_url(text: str, old: str, new: str) -> str:
    rest = text.removeprefix(old)
    # `http://localhost:80` must not match `http://localhost:8080`.
    whole = old.endswith("/") or rest[:1] in ("", "/")
    return new + rest if text.startswith(old) and whole else text


def _edit(
    resources: Resources, change: Callable[[dict[str, Any]], None], *kinds: str, name: str | None = None
) -> Resources:
    def edited(resource: Resource) -> Resource:
        if resource.kind not in kinds or name not in (None, resource.name):
            return resource
        body = copy.deepcopy(dict(resource.body))
        change(body)
        return replace(resource, body=body)

    return Resources(tuple(edited(resource) for resource in resources.all))


def _put(body: dict[str, Any], path: str, value: object) -> None:
    *parents, last = path.split(".")
    parent: Any = body
    for key in parents:
        parent = parent[int(key)] if key.isdigit() else parent.setdefault(key, {})
    parent[last] = value
