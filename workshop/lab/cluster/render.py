"""Render the parts' manifests for a cluster, with its ports, upstream, images and labels."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from workshop.core.paths import cluster_dir, write_private
from workshop.lab.base import PRACTICE_CLIENT_ID, PRACTICE_GITHUB, PRACTICE_PORT, Choices, Deployment
from workshop.lab.deployments import (
    default_ports,
    practice_config,
    practice_secret,
    with_choices,
    write_secrets,
)
from workshop.lab.pins import Pins, pinned
from workshop.toolhive import lint, overrides
from workshop.toolhive.manifests import UPSTREAM_OAUTH, Resource, Resources
from workshop.toolhive.secrets import SecretFiles

_EXCHANGED_AT = f"{UPSTREAM_OAUTH}.tokenEndpoint"
_FIRST = ("MCPOIDCConfig", "MCPExternalAuthConfig", "MCPToolConfig")
_CONFIG, _CLIENT_SECRET = "config.json", "client-secret"  # the keys of the practice GitHub's Secret
_ORDER = (*_FIRST, "Service", "Deployment", "MCPServer", "MCPRemoteProxy")


@dataclass(frozen=True)
class Endpoint:
    """How a workload is reached: the Service in the cluster, and the port and URL on this machine.

    `namespace` is set if the Service is not in that of the instance.
    """

    name: str
    target: str
    remote_port: int
    port: int
    url: str
    namespace: str = ""


@dataclass(frozen=True)
class SharedPractice:
    """A practice GitHub that serves many instances: its namespace, and this instance's user there."""

    namespace: str
    user: str
    port: int = PRACTICE_PORT


@dataclass(frozen=True)
class RenderedPart:
    """One part, ready to be applied; `file` has everything except the secrets."""

    part: int
    resources: Resources
    practice: Resources | None
    endpoints: Sequence[Endpoint]
    file: Path

    @property
    def objects(self) -> list[Resource]:
        """What is applied, each object after those that it refers to; secrets are created separately."""
        return sorted((r for r in self.all.all if r.kind in _ORDER), key=lambda r: _ORDER.index(r.kind))

    @property
    def all(self) -> Resources:
        """The part's own resources, and the practice GitHub's."""
        return Resources((*(self.practice.all if self.practice else ()), *self.resources.all))

    @property
    def outside(self) -> list[str]:
        """The hosts outside the cluster that the part's proxies connect to."""
        found = [proxy.find("spec.remoteUrl") for proxy in self.resources.of("MCPRemoteProxy")]
        found += [auth.find(_EXCHANGED_AT) for auth in self.resources.of("MCPExternalAuthConfig")]
        hosts = [urlsplit(str(url)).hostname or "" for url in found if url and not self.practice]
        return list(dict.fromkeys(host for host in hosts if host))

    def text(self) -> str:
        """The file's text, which a person could pass to kubectl."""
        import yaml

        return yaml.safe_dump_all([dict(item.body) for item in self.objects], sort_keys=False)


class Renderer:
    """Renders the parts for one instance in one namespace."""

    def __init__(
        self,
        home: Path,
        pins: Pins,
        namespace: str,
        labels: Mapping[str, str],
        *,
        own_nodes: bool = False,
        shared: SharedPractice | None = None,
    ) -> None:
        self._home = home
        self._pins = pins
        self._namespace = namespace
        self._labels = labels
        self._own_nodes = own_nodes
        self._shared = shared
        self.secrets = SecretFiles(home / "secrets")

    def render(self, deployments: Sequence[Deployment], choices: Choices) -> list[RenderedPart]:
        """Render every part, and write its secrets and its file; raises UsageError for a broken rule."""
        rendered = [self._part(deployment, choices) for deployment in deployments]
        for part in rendered:
            write_private(part.file, part.text().encode())
        return rendered

    def _part(self, deployment: Deployment, choices: Choices) -> RenderedPart:
        ports = self._ports(deployment, choices)
        resources = self._resolve(deployment.resources, choices, ports)
        configs = write_secrets(self.secrets, resources, choices)
        lint.check_for_cluster(resources, self.secrets)
        practice = None
        if choices.upstream == "practice" and configs and not self._shared:
            practice = self._ours(self._practice(configs[0], ports[PRACTICE_GITHUB]))
        resources = self._ours(resources)
        endpoints = [_endpoint(workload, deployment, ports) for workload in resources.workloads]
        if choices.upstream == "practice" and configs:
            endpoints.append(_practice_endpoint(ports[PRACTICE_GITHUB], self._shared))
        file = self._home / "manifests" / f"part-{deployment.part}.yaml"
        return RenderedPart(deployment.part, resources, practice, endpoints, file)

    def _ports(self, deployment: Deployment, choices: Choices) -> dict[str, int]:
        ports = default_ports(deployment)
        return {**ports, **{name: port for name, port in choices.ports.items() if name in ports}}

    def _resolve(self, resources: Resources, choices: Choices, ports: Mapping[str, int]) -> Resources:
        def with_practice(found: Resources) -> Resources:
            port, shared = ports[PRACTICE_GITHUB], self._shared
            return overrides.with_practice_in_cluster(
                found,
                service_origin=f"http://{PRACTICE_GITHUB}:{shared.port if shared else port}",
                browser_origin=f"http://localhost:{port}",
                client_id=PRACTICE_CLIENT_ID,
                login=shared.user if shared else "",
            )

        resources = with_choices(resources, choices, ports, with_practice)
        if self._pins.ca_file and self._own_nodes:
            resources = overrides.with_node_authorities(resources)
        return overrides.with_early_probes(overrides.without_usage_metrics(resources))

    def _practice(self, auth: Resource, port: int) -> Resources:
        client_secret = practice_secret(self.secrets).read_text("utf-8")
        config = practice_config(auth, port, _CLIENT_SECRET)
        return practice_manifests(self._pins.practice, self._namespace, config, client_secret)

    def _ours(self, resources: Resources) -> Resources:
        return Resources(tuple(self._labelled(resource) for resource in resources.all))

    def _labelled(self, resource: Resource) -> Resource:
        metadata = dict(resource.mapping("metadata"))
        labels = {**(metadata.get("labels") or {}), **self._labels}
        body: dict[str, Any] = {**resource.body, "metadata": {**metadata, "labels": labels}}
        body["metadata"]["namespace"] = self._namespace
        if resource.kind == "MCPServer" and resource.find("spec.image") == pinned().mcp_server:
            body["spec"] = {**body["spec"], "image": self._pins.mcp_server}
        return replace(resource, body=body)


def _endpoint(workload: Resource, deployment: Deployment, ports: Mapping[str, int]) -> Endpoint:
    suffix = "proxy" if workload.kind == "MCPServer" else "remote-proxy"
    program = deployment.programs.get(workload.name)
    port = ports[workload.name]
    url = f"http://localhost:{port}{program.path if program else '/mcp'}"
    target = f"svc/mcp-{workload.name}-{suffix}"
    return Endpoint(workload.name, target, workload.port("spec.proxyPort", 8080), port, url)


def _practice_endpoint(port: int, shared: SharedPractice | None) -> Endpoint:
    remote, namespace = (shared.port, shared.namespace) if shared else (port, "")
    url = f"http://localhost:{port}"
    return Endpoint(PRACTICE_GITHUB, f"svc/{PRACTICE_GITHUB}", remote, port, url, namespace)


def practice_manifests(
    image: str, namespace: str, config: Mapping[str, Any], client_secret: str
) -> Resources:
    """The practice GitHub's Secret, Service and Deployment; another configuration replaces its pod.

    The port of the configuration is that of the pod, of the Service and, through the port-forward, of the
    browser.
    """
    import yaml

    source = cluster_dir() / "practice" / "practice-github.yaml"
    deployment, service = yaml.safe_load_all(source.read_text(encoding="utf-8"))
    name = service["metadata"]["name"]
    settings = json.dumps({**config, "service_host": name}, indent=2)
    secret: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": service["metadata"]["labels"]},
        "type": "Opaque",
        "stringData": {_CONFIG: settings, _CLIENT_SECRET: client_secret},
    }
    _set_up(deployment, image, config["port"], secret["stringData"])
    service["spec"]["ports"][0]["port"] = config["port"]
    bodies = (secret, service, deployment)
    for body in bodies:
        body["metadata"]["namespace"] = namespace
    return Resources(tuple(Resource(body["kind"], name, body, str(source)) for body in bodies))


def _set_up(deployment: dict[str, Any], image: str, port: int, files: Mapping[str, str]) -> None:
    template = deployment["spec"]["template"]
    (container,) = template["spec"]["containers"]
    container["image"] = image
    container["ports"][0]["containerPort"] = port
    digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    template["metadata"]["annotations"] = {"workshop/config-hash": digest[:16]}
