"""The commands with which a person deploys a part by hand, each with its reason."""

from collections.abc import Callable, Sequence

from workshop.lab.base import HandStep
from workshop.lab.cluster.record import Cluster
from workshop.lab.cluster.render import Endpoint, RenderedPart
from workshop.lab.cluster.secrets import secrets_of
from workshop.lab.tools.run import copyable
from workshop.toolhive.manifests import Resource
from workshop.toolhive.secrets import SecretFiles

_REASONS = {
    "config.json": "The settings of the practice GitHub, and its copy of the app's secret.",
    "signing-key.pem": "The key with which the proxy signs token 1.",
    "hmac-secret": "Protects the proxy's codes and refresh tokens.",
    "client-secret": "The secret of the OAuth app, with which the proxy fetches token 2.",
}
_CONDITIONS = {"MCPServer": "Ready", "MCPRemoteProxy": "Ready", "Deployment": "Available"}


def by_hand(
    cluster: Cluster, part: RenderedPart, apply_command: str, forward_command: Callable[[Endpoint], str]
) -> list[HandStep]:
    """Secrets, manifests, waits and forwards, in the order in which a person types them."""
    files = SecretFiles(cluster.home / "secrets")
    for secret in part.all.of("Secret"):
        files.write_resource(secret)
    wanted = secrets_of(part.all)
    secrets = [_secret(cluster, name, keys, files) for name, keys in wanted.items()]
    labels = [_label(cluster, list(wanted))] if wanted else []
    apply = HandStep("Hand the manifests to the operator, which makes the pods.", apply_command)
    waits = [_wait(cluster, item) for item in part.objects if item.kind in _CONDITIONS]
    forwards = [
        HandStep(
            f"Lead a port of this machine to {endpoint.target}, until Ctrl-C: use another terminal.",
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
    return HandStep("Mark the secrets as this instance's: `workshop teardown` removes those.", command)


def _wait(cluster: Cluster, item: Resource) -> HandStep:
    condition = f"--for=condition={_CONDITIONS[item.kind]}"
    command = _kubectl(cluster, "wait", f"{item.kind.lower()}/{item.name}", condition, "--timeout=300s")
    return HandStep(f"Wait until {item.name} is ready.", command)


def _kubectl(cluster: Cluster, *words: str) -> str:
    here = ("--namespace", cluster.namespace)
    return copyable(cluster.tools.kubectl.argv(cluster.at, *words, *here))
