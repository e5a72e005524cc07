"""Change manifests before they are applied: another port, another OAuth app, the practice GitHub."""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from workshop.toolhive.lint import auth_config
from workshop.toolhive.manifests import Resource, Resources

CLIENT_ID_PLACEHOLDER = "replace-with-your-github-oauth-client-id"
# Fields of newer versions that our manifests do without where an older operator is on the cluster.
DISPENSABLE = (
    "spec.embeddedAuthServer.registrationRateLimit",
    "spec.embeddedAuthServer.storage.maxDCRClients",
)
_OAUTH = "spec.embeddedAuthServer.upstreamProviders.0.oauth2Config"
_CONTAINER = "toolhive"
# Each second, for the 90 s that ToolHive gives it to start, and then at once: 0 would count as nothing said.
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
    return _edit(moved, "MCPRemoteProxy", lambda body: _put(body, "spec.proxyPort", port), name)


def with_practice_github(resources: Resources, origin: str, client_id: str) -> Resources:
    """Point every GitHub address at the practice GitHub; nothing else about the flow changes."""
    for github, practice in (
        ("https://github.com/", f"{origin}/"),
        ("https://api.github.com/", f"{origin}/"),
        ("https://api.githubcopilot.com/", f"{origin}/"),
    ):
        resources = _replace_prefix(resources, github, practice)

    def edit(body: dict[str, Any]) -> None:
        _put(body, f"{_OAUTH}.insecureAllowHTTP", value=True)
        _put(body, f"{_OAUTH}.allowPrivateIPs", value=True)

    resources = _edit(resources, "MCPExternalAuthConfig", edit)
    return with_client_id(resources, client_id)


def with_practice_in_cluster(
    resources: Resources, *, service_origin: str, browser_origin: str, client_id: str
) -> Resources:
    """Point every GitHub address at the practice GitHub's Service, and the person's at the port-forward.

    The proxy reads who logged in over plain http, which ToolHive allows beyond loopback only where
    `INSECURE_DISABLE_URL_VALIDATION` is set. Nothing is lost by it here: the OAuth endpoints are http too.
    """
    resources = with_practice_github(resources, service_origin, client_id)

    def edit(body: dict[str, Any]) -> None:
        upstream = body["spec"]["embeddedAuthServer"]["upstreamProviders"][0]["oauth2Config"]
        endpoint = upstream["authorizationEndpoint"]
        upstream["authorizationEndpoint"] = _moved_url(endpoint, f"{service_origin}/", f"{browser_origin}/")

    resources = _edit(resources, "MCPExternalAuthConfig", edit)
    return _with_proxy_environment(resources, ("MCPRemoteProxy",), "INSECURE_DISABLE_URL_VALIDATION", "true")


def without_usage_metrics(resources: Resources) -> Resources:
    """Let no proxy report to ToolHive's makers, which is on by default (ToolHive's `pkg/usagemetrics`)."""
    kinds = ("MCPServer", "MCPRemoteProxy")
    return _with_proxy_environment(resources, kinds, "TOOLHIVE_USAGE_METRICS_ENABLED", "false")


def with_node_authorities(resources: Resources) -> Resources:
    """Let the remote proxy trust what its node trusts: on networks that sign every connection themselves.

    Not by `caBundleRef` (ToolHive 0.47 and later), which covers the authorization server's calls alone: the
    connection to the remote MCP server is signed too, and an older operator does not know the field.
    A proxy for outgoing connections is not handed over: ToolHive asks GitHub for tokens without one (0.63.0,
    `pkg/networking/http_client.go`), so that logging in would fail all the same.
    """
    mount = {"name": "authorities", "mountPath": _AUTHORITIES, "readOnly": True}
    volume = {"name": "authorities", "hostPath": {"path": _AUTHORITIES, "type": "File"}}

    def edit(body: dict[str, Any]) -> None:
        ours = _container(body)
        template = body["spec"]["podTemplateSpec"]["spec"]
        template["volumes"] = [*template.get("volumes", ()), volume]
        ours["volumeMounts"] = [*ours.get("volumeMounts", ()), mount]

    resources = _edit(resources, "MCPRemoteProxy", edit)
    return _with_proxy_environment(resources, ("MCPRemoteProxy",), "SSL_CERT_FILE", _AUTHORITIES)


def with_early_probes(resources: Resources) -> Resources:
    """Let a remote proxy count as ready once it answers: ToolHive first asks it 15 s after its start.

    What it asks is the same as at the start, where it now asks each second. A manifest that says something of
    these probes itself keeps that.
    """

    def edit(body: dict[str, Any]) -> None:
        ours = _container(body)
        for probe, changes in _EARLY.items():
            ours[probe] = {**changes, **ours.get(probe, {})}

    return _edit(resources, "MCPRemoteProxy", edit)


def with_client_id(resources: Resources, client_id: str) -> Resources:
    """Use another OAuth app's client id."""
    return _edit(resources, "MCPExternalAuthConfig", lambda body: _put(body, f"{_OAUTH}.clientId", client_id))


def _container(body: dict[str, Any]) -> dict[str, Any]:
    """The patch of the remote proxy's one container, added where there is none."""
    template = body["spec"].setdefault("podTemplateSpec", {}).setdefault("spec", {})
    containers: list[dict[str, Any]] = template.setdefault("containers", [])
    ours = next((container for container in containers if container["name"] == _CONTAINER), None)
    if ours is None:
        containers.append(ours := {"name": _CONTAINER})
    return ours


def without(resource: Resource, path: str) -> Resource:
    """The resource without the field at a dotted path."""
    body = copy.deepcopy(dict(resource.body))
    *parents, last = path.split(".")
    place: Any = body
    for key in parents:
        place = place[key]
    del place[last]
    return replace(resource, body=body)


def _with_proxy_environment(resources: Resources, kinds: Iterable[str], name: str, value: str) -> Resources:
    def edit(body: dict[str, Any]) -> None:
        proxy = body["spec"].setdefault("resourceOverrides", {}).setdefault("proxyDeployment", {})
        others = [item for item in proxy.get("env", ()) if item["name"] != name]
        proxy["env"] = [*others, {"name": name, "value": value}]

    for kind in kinds:
        resources = _edit(resources, kind, edit)
    return resources


def _replace_prefix(resources: Resources, old: str, new: str) -> Resources:
    def moved(value: object) -> object:
        if isinstance(value, Mapping):
            return {key: moved(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [moved(inner) for inner in value]
        return _moved_url(value, old, new) if isinstance(value, str) else value

    def body_of(resource: Resource) -> Mapping[str, Any]:
        return {key: moved(value) if key == "spec" else value for key, value in resource.body.items()}

    return Resources(tuple(Resource(r.kind, r.name, body_of(r), r.source) for r in resources.all))


def _moved_url(text: str, old: str, new: str) -> str:
    rest = text.removeprefix(old)
    whole = old.endswith("/") or rest[:1] in ("", "/")
    return new + rest if text.startswith(old) and whole else text


def _edit(
    resources: Resources, kind: str, change: Callable[[dict[str, Any]], None], name: str | None = None
) -> Resources:
    def edited(resource: Resource) -> Resource:
        if resource.kind != kind or name not in (None, resource.name):
            return resource
        body = copy.deepcopy(dict(resource.body))
        change(body)
        return Resource(resource.kind, resource.name, body, resource.source)

    return Resources(tuple(edited(resource) for resource in resources.all))


def _put(body: dict[str, Any], path: str, value: object) -> None:
    *parents, last = path.split(".")
    place: Any = body
    for key in parents:
        place = place[int(key)] if key.isdigit() else place.setdefault(key, {})
    place[last] = value
