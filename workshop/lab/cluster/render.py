"""Render the parts' manifests for a cluster, and the commands with which a person deploys them by hand."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from workshop.core.paths import cluster_dir, write_private
from workshop.lab.base import (
    PRACTICE_CLIENT_ID,
    PRACTICE_GITHUB,
    PRACTICE_PORT,
    Choices,
    Deployment,
    HandStep,
)
from workshop.lab.cluster.record import Cluster, variation_label
from workshop.lab.cluster.secrets import secrets_of
from workshop.lab.deployments import (
    default_ports,
    practice_config,
    practice_secret,
    with_choices,
    write_secrets,
)
from workshop.lab.pins import pinned
from workshop.lab.tools.run import copyable
from workshop.toolhive import lint, overrides
from workshop.toolhive.manifests import UPSTREAM_OAUTH, Resource, Resources
from workshop.toolhive.secrets import SecretFiles, auth_configs

_EXCHANGED_AT = f"{UPSTREAM_OAUTH}.tokenEndpoint"
_FIRST = ("MCPGroup", "MCPOIDCConfig", "MCPExternalAuthConfig", "MCPToolConfig", "MCPServerEntry")
_CONFIG, _CLIENT_SECRET = "config.json", "client-secret"  # the keys of the practice GitHub's Secret
_ORDER = (*_FIRST, "Service", "Deployment", "MCPServer", "MCPRemoteProxy", "VirtualMCPServer")
_REASONS = {
    "config.json": "The settings of the practice GitHub, and its copy of the app's secret.",
    "signing-key.pem": "The key with which the proxy signs token 1.",
    "hmac-secret": "Protects the proxy's codes and refresh tokens.",
    "client-secret": "The secret of the OAuth app, with which the proxy fetches token 2.",
}
_CONDITIONS = {"MCPServer": "Ready", "MCPRemoteProxy": "Ready", "Deployment": "Available"}


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


@dataclass(frozen=True)
class RenderedPart:
    """One part or variation, ready to be applied; `file` has everything except the secrets."""

    deployment: Deployment
    resources: Resources
    practice: Resources | None
    endpoints: Sequence[Endpoint]
    file: Path

    @property
    def key(self) -> str:
        """Its number or its name, as the names of steps and files have it."""
        return self.deployment.variation or str(self.deployment.part)

    @property
    def label(self) -> str:
        """Its name within a sentence."""
        return f"variation {self.key}" if self.deployment.variation else f"part {self.key}"

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
        remotes = (*self.resources.of("MCPRemoteProxy"), *self.resources.of("MCPServerEntry"))
        found = [remote.find("spec.remoteUrl") for remote in remotes]
        found += [auth.find(_EXCHANGED_AT) for auth in auth_configs(self.resources)]
        hosts = [urlsplit(str(url)).hostname or "" for url in found if url and not self.practice]
        return list(dict.fromkeys(host for host in hosts if host))

    def text(self) -> str:
        """The file's text, which a person could pass to kubectl."""
        import yaml

        return yaml.safe_dump_all([dict(item.body) for item in self.objects], sort_keys=False)


class Renderer:
    """Renders the parts for one cluster; `shared` is the practice GitHub of a room."""

    def __init__(self, cluster: Cluster, shared: SharedPractice | None = None) -> None:
        self._cluster = cluster
        self._shared = shared
        self._secrets = cluster.secrets

    def render(self, deployments: Sequence[Deployment], choices: Choices) -> list[RenderedPart]:
        """Render every part, and write its secrets and its file; raises UsageError for a broken rule."""
        rendered = [self._part(deployment, choices) for deployment in deployments]
        for part in rendered:
            write_private(part.file, part.text().encode())
        return rendered

    def _part(self, deployment: Deployment, choices: Choices) -> RenderedPart:
        ports = self._ports(deployment, choices)
        resources = self._resolve(deployment, choices, ports)
        configs = write_secrets(self._secrets, resources, choices)
        lint.check_for_cluster(resources, self._secrets)
        practice = None
        labels = {**self._cluster.record.labels, **variation_label(deployment.variation)}
        shared = self._shared_by(deployment)
        if choices.upstream == "practice" and configs and not shared:
            made = self._practice(configs[0], deployment.practice, ports[deployment.practice])
            practice = self._with_labels(made, labels)
        resources = self._with_labels(resources, labels)
        # A server behind a gateway is reached through the gateway alone.
        reached = resources.of("VirtualMCPServer") or resources.workloads
        endpoints = [_endpoint(workload, deployment, ports) for workload in reached]
        if choices.upstream == "practice" and configs:
            endpoints.append(_practice_endpoint(deployment.practice, ports[deployment.practice], shared))
        file = self._cluster.home / "manifests" / f"{deployment.variation or f'part-{deployment.part}'}.yaml"
        return RenderedPart(deployment, resources, practice, endpoints, file)

    def _shared_by(self, deployment: Deployment) -> SharedPractice | None:
        """The practice GitHub that several seats use; a variation has one of its own."""
        return None if deployment.variation else self._shared

    def _ports(self, deployment: Deployment, choices: Choices) -> dict[str, int]:
        ports = default_ports(deployment)
        return {**ports, **{name: port for name, port in choices.ports.items() if name in ports}}

    def _resolve(self, deployment: Deployment, choices: Choices, ports: Mapping[str, int]) -> Resources:
        def with_practice(found: Resources) -> Resources:
            port, shared = ports[deployment.practice], self._shared_by(deployment)
            return overrides.with_practice_in_cluster(
                found,
                service_origin=f"http://{deployment.practice}:{PRACTICE_PORT if shared else port}",
                browser_origin=f"http://localhost:{port}",
                client_id=PRACTICE_CLIENT_ID,
                login=shared.user if shared else "",
            )

        resources = with_choices(deployment.resources, choices, ports, with_practice)
        if self._cluster.pins.ca_file and self._cluster.own_nodes:
            resources = overrides.with_node_authorities(resources)
        return overrides.with_early_probes(overrides.without_usage_metrics(resources))

    def _practice(self, auth: Resource, name: str, port: int) -> Resources:
        client_secret = practice_secret(self._secrets).read_text("utf-8")
        config = practice_config(auth, port, _CLIENT_SECRET)
        return practice_manifests(
            self._cluster.pins.practice, self._cluster.namespace, config, client_secret, name
        )

    def _with_labels(self, resources: Resources, labels: Mapping[str, str]) -> Resources:
        return Resources(tuple(self._labelled(resource, labels) for resource in resources.all))

    def _labelled(self, resource: Resource, own: Mapping[str, str]) -> Resource:
        metadata = dict(resource.mapping("metadata"))
        labels = {**(metadata.get("labels") or {}), **own}
        body: dict[str, Any] = {**resource.body, "metadata": {**metadata, "labels": labels}}
        body["metadata"]["namespace"] = self._cluster.namespace
        # Any other image is the learner's own, and stays.
        if resource.kind == "MCPServer" and resource.find("spec.image") == pinned().mcp_server:
            body["spec"] = {**body["spec"], "image": self._cluster.pins.mcp_server}
        return replace(resource, body=body)


def _endpoint(workload: Resource, deployment: Deployment, ports: Mapping[str, int]) -> Endpoint:
    program = deployment.programs.get(workload.name)
    port = ports[workload.name]
    url = f"http://localhost:{port}{program.path if program else '/mcp'}"
    if workload.kind == "VirtualMCPServer":
        return Endpoint(workload.name, f"svc/vmcp-{workload.name}", overrides.GATEWAY_PORT, port, url)
    suffix = "proxy" if workload.kind == "MCPServer" else "remote-proxy"
    target = f"svc/mcp-{workload.name}-{suffix}"
    return Endpoint(workload.name, target, workload.port("spec.proxyPort", 8080), port, url)


def _practice_endpoint(name: str, port: int, shared: SharedPractice | None) -> Endpoint:
    remote, namespace = (PRACTICE_PORT, shared.namespace) if shared else (port, "")
    return Endpoint(name, f"svc/{name}", remote, port, f"http://localhost:{port}", namespace)


def practice_manifests(
    image: str,
    namespace: str,
    config: Mapping[str, Any],
    client_secret: str,
    name: str = PRACTICE_GITHUB,
) -> Resources:
    """The practice GitHub's Secret, Service and Deployment; another configuration replaces its pod.

    The port of the configuration is that of the pod, of the Service and, through the port-forward, of the
    browser.
    """
    import yaml

    source = cluster_dir() / "practice" / "practice-github.yaml"
    text = source.read_text(encoding="utf-8").replace(PRACTICE_GITHUB, name)
    deployment, service = yaml.safe_load_all(text)
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
    # A pod reads its configuration at its start: another hash in the template replaces the pod.
    digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    template["metadata"]["annotations"] = {"workshop/config-hash": digest[:16]}


def by_hand(
    cluster: Cluster, part: RenderedPart, apply_command: str, forward_command: Callable[[Endpoint], str]
) -> list[HandStep]:
    """Secrets, manifests, waits and forwards, in the order in which a person types them."""
    files = cluster.secrets
    for secret in part.all.of("Secret"):
        files.write_resource(secret)
    wanted = secrets_of(part.all)
    secrets = [_secret(cluster, name, keys, files) for name, keys in wanted.items()]
    labels = [_label(cluster, list(wanted))] if wanted else []
    apply = HandStep("Apply the manifests: the operator creates the pods.", apply_command)
    waits = [_wait(cluster, item) for item in part.objects if item.kind in _CONDITIONS]
    forwards = [
        HandStep(
            f"Forward a local port to {endpoint.target} until you press Ctrl-C: use another terminal.",
            forward_command(endpoint),
        )
        for endpoint in part.endpoints
    ]
    return [*secrets, *labels, apply, *waits, *forwards]


def _secret(cluster: Cluster, name: str, keys: Sequence[str], files: SecretFiles) -> HandStep:
    given = [f"--from-file={key}={files.path(name, key)}" for key in keys]
    command = _kubectl(cluster, "create", "secret", "generic", name, *given)
    reason = next((why for key, why in _REASONS.items() if key in keys), "A secret that a manifest names.")
    return HandStep(f"{reason} The value comes from a file.", command)


def _label(cluster: Cluster, names: Sequence[str]) -> HandStep:
    labels = [f"{label}={value}" for label, value in cluster.record.labels.items()]
    command = _kubectl(cluster, "label", "secret", *names, *labels)
    return HandStep(
        "Label the secrets as this instance's, so that `workshop teardown` removes them.", command
    )


def _wait(cluster: Cluster, item: Resource) -> HandStep:
    condition = f"--for=condition={_CONDITIONS[item.kind]}"
    command = _kubectl(cluster, "wait", f"{item.kind.lower()}/{item.name}", condition, "--timeout=300s")
    return HandStep(f"Wait until {item.name} is ready.", command)


def _kubectl(cluster: Cluster, *words: str) -> str:
    here = ("--namespace", cluster.namespace)
    return copyable(cluster.tools.kubectl.argv(cluster.at, *words, *here))
