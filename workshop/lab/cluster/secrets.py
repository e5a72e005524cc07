"""The secrets in the cluster: created again from the secret files, and only replaced if they carry our label.

ToolHive mounts keys by subPath and passes the client secret as environment (0.63.0
`pkg/controllerutil/authserver.go`): a pod keeps the values it started with, and is replaced when they change.
`kubectl rollout restart` is not enough: operators older than 0.47 undo it.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workshop.core.errors import UsageError, reason
from workshop.lab.cluster.record import INSTANCE_LABEL, MANAGED_BY, owner_labels, variation_label
from workshop.lab.cluster.workload_state import controllers_of, is_leaving, pods_of, replace_pod
from workshop.lab.kube.client import Kube
from workshop.lab.kube.objects import Object, annotations_of, created_at, labels_of, name_of
from workshop.toolhive.manifests import Resource, Resources
from workshop.toolhive.secrets import SecretFiles, auth_configs, client_secret_reference, references

_HASH = "workshop/hash"
_SINCE = "workshop/since"


@dataclass(frozen=True)
class Recreated:
    """The secrets that were created, and the pods that were replaced because theirs had changed."""

    secrets: Sequence[str]
    replaced: Sequence[str]


@dataclass(frozen=True)
class ClusterSecrets:
    """The secrets of one instance, or of a variation of it, in one namespace."""

    kube: Kube
    namespace: str
    instance: str
    variation: str = ""

    def recreate(self, resources: Resources, files: SecretFiles) -> Recreated:
        """Delete and create every secret that these resources refer to; replace pods with older values.

        Raises UsageError, before any change, if one of these secrets belongs to somebody else.
        """
        wanted = [(workload, _references(workload, resources)) for workload in resources.workloads]
        values: dict[str, dict[str, bytes]] = {}
        for name, keys in secrets_of(resources).items():
            values[name] = {key: _value(files, name, key) for key in keys}
        old = {name: self._existing(name) for name in values}
        since = {name: self._make(name, data, old[name]) for name, data in values.items()}
        replaced = [
            pod
            for workload, pairs in wanted
            for pod in self._replace(workload, max((since[name] for name, _ in pairs), default=""))
        ]
        return Recreated(sorted(values), replaced)

    def delete(self) -> Sequence[str]:
        """Delete every secret of this instance, or of its variation; return their names."""
        own = self.kube.list("v1", "Secret", self.namespace, self._labels)
        names = [name_of(secret) for secret in own]
        return [name for name in names if self.kube.delete("v1", "Secret", name, self.namespace)]

    @property
    def _labels(self) -> dict[str, str]:
        return {**owner_labels(self.instance), **variation_label(self.variation)}

    def _existing(self, name: str) -> Object | None:
        found = self.kube.get("v1", "Secret", name, self.namespace)
        labels = labels_of(found)
        if found is None or owner_labels(self.instance).items() <= labels.items():
            return found
        other = labels.get(INSTANCE_LABEL) if MANAGED_BY.items() <= labels.items() else None
        raise UsageError(
            f"Secret `{name}` in namespace `{self.namespace}` does not belong to this instance",
            why=f"It belongs to instance `{other}`" if other else "It does not carry the workshop's label",
            hint=f"Choose another namespace, or, if nobody needs it: "
            f"`kubectl delete secret {name} -n {self.namespace}`",
        )

    def _make(self, name: str, data: Mapping[str, bytes], old: Object | None) -> str:
        """Create a secret; return since when it has these values, by the API server's clock."""
        digest = _hash(data)
        annotations = {_HASH: digest}
        noted = annotations_of(old)
        if noted.get(_HASH) == digest:
            annotations[_SINCE] = noted.get(_SINCE, created_at(old))
        # Created again, so that its creation time is that of its values.
        if old:
            self.kube.delete("v1", "Secret", name, self.namespace)
        made = self.kube.create(secret(name, self.namespace, data, self._labels, annotations))
        return annotations.get(_SINCE, created_at(made))

    def _replace(self, workload: Resource, since: str) -> Sequence[str]:
        """Delete the pods that started before their secrets had these values."""
        controllers = controllers_of(self.kube, self.namespace, workload.name)
        pods = pods_of(self.kube, self.namespace, controllers)
        stale = [pod for pod in pods if created_at(pod) < since and not is_leaving(pod)]
        for pod in stale:
            replace_pod(self.kube, pod)
        return list(map(name_of, stale))


def secret(
    name: str,
    namespace: str,
    data: Mapping[str, bytes],
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Object:
    """A Secret with these values."""
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    metadata: Object = {"name": name, "namespace": namespace, "labels": dict(labels or {})}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": encoded}


def secrets_of(resources: Resources) -> dict[str, list[str]]:
    """The names of the secrets that these resources refer to or contain, each with its keys."""
    pairs = {pair for workload in resources.workloads for pair in _references(workload, resources)}
    found: dict[str, list[str]] = {}
    for name, key in sorted(pairs | set(_own(resources))):
        found.setdefault(name, []).append(key)
    return found


def _references(workload: Resource, resources: Resources) -> Sequence[tuple[str, str]]:
    """Every secret and key that a workload's pods get, from its manifest or from its auth config."""
    found = references(workload, "spec.secrets")
    found += references(workload, "spec.headerForward.addHeadersFromSecret", "valueSecretRef")
    named = {workload.find(f"spec.{field}.name") for field in ("authServerRef", "externalAuthConfigRef")}
    if workload.kind == "VirtualMCPServer":
        named = {workload.name}  # its auth config is its own
    for auth in auth_configs(resources):
        if auth.name in named:
            found += references(auth, "spec.embeddedAuthServer.signingKeySecretRefs")
            found += references(auth, "spec.embeddedAuthServer.hmacSecretRefs")
            found.append(client_secret_reference(auth))
    return found


def _own(resources: Resources) -> Sequence[tuple[str, str]]:
    """The secrets and keys that the manifests themselves contain."""
    return [
        (secret.name, str(key))
        for secret in resources.of("Secret")
        for field in ("stringData", "data")
        for key in secret.mapping(field)
    ]


def _value(files: SecretFiles, name: str, key: str) -> bytes:
    path = files.path(name, key)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"Secret `{name}` has no value for `{key}`",
            why=reason(error),
            hint="A manifest refers to it: add a `Secret` with this key to the manifests",
        ) from error


def _hash(data: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for key, value in sorted(data.items()):
        digest.update(f"{key}={len(value)}:".encode() + value)
    return digest.hexdigest()
