"""The state of a workload: its pods, their controllers, and what ToolHive's operator reports about it.

A pod's trouble has a grace period in seconds, in which it may still end by itself.

From ToolHive 0.63.0 `cmd/thv-operator/controllers`: a changed config leaves the generation of the workload
that refers to it as it was. The config's hash in the workload's status shows the change, and so does the
checksum of the run configuration in the pods' template.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workshop.lab.kube.client import Event, Kube
from workshop.lab.kube.objects import (
    Condition,
    Object,
    annotations_of,
    conditions_of,
    container_statuses_of,
    created_at,
    is_being_deleted,
    items,
    mapping,
    name_of,
    namespace_of,
    number,
    text,
)
from workshop.toolhive.known_messages import Origin, recognise
from workshop.toolhive.manifests import API_GROUP, TOOLHIVE_API


@dataclass(frozen=True)
class Graces:
    """How long a fault may last before it counts as final, in seconds."""

    fatal: float = 2.0  # cannot recover; not at the first look, which may show a pod about to be replaced
    retry: float = 15.0  # a secret created a moment later, a volume mounted at the second attempt
    registry: float = 60.0  # a registry or a network that fails for a moment
    terminating: float = 45.0  # a pod that is still terminating holds the space
    # A node that is being created; since Kubernetes 1.34.2 its taint is not in the message.
    node: float = 150.0
    quota: float = 10.0  # a quota may have room again when an old pod is gone
    config: float = 30.0  # applied all at once, resources fail until those that they refer to are valid


GRACES = Graces()
_NO_LIMIT = float("inf")  # only the caller's own limit

_PULLS = ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError")
_FATAL_PULLS = ("InvalidImageName", "ErrImageNeverPull")
_WAITS = ("ContainerCreating", "PodInitializing")
_CHECKSUM = f"{API_GROUP}/content-checksum"
_RUNS_WITH = f"{API_GROUP}/runconfig-checksum"

# Where a workload names a config, of which kind that is, and where its status keeps the config's hash.
_REFERENCES = (
    ("toolConfigRef", "MCPToolConfig", "toolConfigHash"),
    ("oidcConfigRef", "MCPOIDCConfig", "oidcConfigHash"),
    ("authServerRef", "MCPExternalAuthConfig", "authServerConfigHash"),
    ("externalAuthConfigRef", "MCPExternalAuthConfig", "externalAuthConfigHash"),
)
_MUST_HOLD = {"oidcConfigRef": "OIDCConfigRefValidated", "authServerRef": "AuthServerRefValidated"}
_CONDITIONS = (  # in which the operator refuses a manifest
    "ConfigurationValid",
    "OIDCConfigRefValidated",
    "AuthServerRefValidated",
    "ExternalAuthConfigValidated",
    "ToolConfigValidated",
    "PodTemplateValid",
    "Valid",
)
_PASSING = ("NotFound", "FetchError", "NotValid", "NotReady", "RefError")  # ends of the reasons that pass


@dataclass(frozen=True)
class Trouble:
    """One reason why a pod does not run; it counts as final once it has lasted `patience` seconds."""

    pod: str
    container: str
    reason: str
    message: str
    patience: float
    restarts: int = 0  # of the container, in the whole life of its pod

    @property
    def summary(self) -> str:
        return f"{self.reason}: {self.message}" if self.message else self.reason

    @property
    def origin(self) -> Origin:
        """Where its message stands among the messages that we know."""
        return origin_of(self.reason, self.message)


def origin_of(reason: str, message: str) -> Origin:
    """Whether a pod's trouble or event is about the pull of an image."""
    of_a_pull = reason in (*_PULLS, *_FATAL_PULLS) or "pull" in message.lower()
    return "pull" if of_a_pull else "pod"


def controllers_of(kube: Kube, namespace: str, name: str) -> Sequence[Object]:
    """The Deployment and the StatefulSet of a workload, as far as they exist."""
    found = (kube.get("apps/v1", kind, name, namespace) for kind in ("Deployment", "StatefulSet"))
    return [controller for controller in found if controller]


def pods_of(kube: Kube, namespace: str, controllers: Iterable[Object]) -> Sequence[Object]:
    """The pods that Deployments and StatefulSets select, each once."""
    found: dict[str, Object] = {}
    for controller in controllers:
        labels = mapping(controller, "spec", "selector", "matchLabels")
        if labels:  # without any the API would list every pod of the namespace
            found |= {name_of(pod): pod for pod in kube.list("v1", "Pod", namespace, labels)}
    return list(found.values())


def replace_pod(kube: Kube, pod: Object) -> None:
    """Delete a pod, in whose place its controller creates another."""
    # Not 0 s, which removes the object before the kubelet has ended the pod: a StatefulSet would run two.
    kube.delete("v1", "Pod", name_of(pod), namespace_of(pod), grace_seconds=1)


def is_leaving(pod: Object) -> bool:
    """Whether a pod is terminating or has ended."""
    return is_being_deleted(pod) or text(pod, "status", "phase") in ("Succeeded", "Failed")


def is_ready(pod: Object) -> bool:
    """Whether a pod is ready, and not terminating."""
    ready = conditions_of(pod).get("Ready")
    return ready is not None and ready.holds and not is_leaving(pod)


def newest(pods: Sequence[Object]) -> Sequence[Object]:
    """The pods of the controllers' latest revisions: an older one's troubles end with it."""
    latest: dict[str, tuple[str, str]] = {}
    for pod in pods:
        controller, revision = _revision(pod)
        latest[controller] = max(latest.get(controller, ("", "")), (created_at(pod), revision))
    return [pod for pod in pods if _revision(pod)[1] == latest[_revision(pod)[0]][1] and not is_leaving(pod)]


def troubles(pod: Object, events: Sequence[Event] = (), graces: Graces = GRACES) -> Sequence[Trouble]:
    """Everything that keeps this pod from running."""
    name = name_of(pod)
    found = [
        trouble
        for container in (*items(pod, "status", "initContainerStatuses"), *container_statuses_of(pod))
        if (trouble := _container(name, container, graces))
    ]
    scheduled = conditions_of(pod).get("PodScheduled")
    if scheduled is not None and scheduled.reason == "Unschedulable":
        found.append(_unschedulable(name, scheduled, graces))
    found += [
        Trouble(name, "", event.reason, event.message, graces.retry)
        for event in events
        if event.reason in ("FailedMount", "FailedCreatePodSandBox") and _is_creating(pod)
    ][-1:]
    return found


def _container(pod: str, container: Mapping[str, Any], graces: Graces) -> Trouble | None:
    waiting, name = mapping(container, "state", "waiting"), text(container, "name")
    reason, message = text(waiting, "reason"), " ".join(text(waiting, "message").split())
    if not reason or reason in _WAITS:
        return None
    if reason == "CrashLoopBackOff":
        ended = mapping(container, "lastState", "terminated")
        count = number(container, "restartCount")
        times = "once" if count == 1 else f"{count} times, last"
        message = f"it ended {times} with {text(ended, 'reason') or 'Error'} ({number(ended, 'exitCode')})"
        return Trouble(pod, name, reason, message, _NO_LIMIT, count)
    return Trouble(pod, name, reason, message, _patience(reason, message, graces))


def _patience(reason: str, message: str, graces: Graces) -> float:
    if reason in _FATAL_PULLS:
        return graces.fatal
    known = recognise([(origin_of(reason, message), message)])
    if known and not known.heals:
        return graces.fatal
    return graces.registry if reason in _PULLS else graces.retry


def _unschedulable(pod: str, condition: Condition, graces: Graces) -> Trouble:
    message = condition.message
    starting = "not-ready" in message or "not ready" in message
    tainted = "untolerated taint" in message and "Insufficient" not in message
    return Trouble(
        pod,
        "",
        "Unschedulable",
        message,
        _NO_LIMIT if starting else graces.node if tainted else graces.terminating,
    )


def _is_creating(pod: Object) -> bool:
    return any(
        text(container, "state", "waiting", "reason") in _WAITS for container in container_statuses_of(pod)
    )


def _revision(pod: Object) -> tuple[str, str]:
    owners = items(pod, "metadata", "ownerReferences") or [{}]
    kind, owner = text(owners[0], "kind"), text(owners[0], "name")
    # A ReplicaSet is one revision of a Deployment: its name is the Deployment's with a hash at the end.
    controller = owner.rpartition("-")[0] if kind == "ReplicaSet" else owner
    return f"{kind}/{controller}", owner


def replicas(controller: Object) -> int:
    """How many pods are wanted."""
    wanted = mapping(controller, "spec").get("replicas")
    return 1 if wanted is None else int(wanted)


def is_rolled_out(controller: Object) -> bool:
    """What `kubectl rollout status` waits for: all pods are of the latest revision, and available."""
    status = mapping(controller, "status")
    wanted = replicas(controller)
    if number(status, "observedGeneration") < (number(controller, "metadata", "generation") or 1):
        return False
    if number(status, "updatedReplicas") < wanted:
        return False
    if controller["kind"] == "StatefulSet":
        same = text(status, "currentRevision") == text(status, "updateRevision")
        return same and number(status, "readyReplicas") >= wanted
    old = number(status, "replicas") - number(status, "updatedReplicas")
    return old <= 0 and number(status, "availableReplicas") >= wanted


def blocks(controller: Object, graces: Graces = GRACES) -> Iterator[tuple[str, str, float]]:
    """Why no pods are made: the reason, the message, and for how long that may be a passing state."""
    for condition in conditions_of(controller).values():
        failing = condition.kind == "ReplicaFailure" and condition.holds
        late = condition.kind == "Progressing" and condition.reason == "ProgressDeadlineExceeded"
        if failing or late:
            yield condition.reason or condition.kind, condition.message, graces.quota


@dataclass(frozen=True)
class OperatorView:
    """A workload's own resource, the configs it refers to, and the checksum of its run configuration."""

    workload: Object | None
    configs: Mapping[str, Object | None]
    checksum: str

    @property
    def is_observed(self) -> bool:
        """Whether the operator has looked at the workload since it was changed last."""
        return self.workload is not None and _is_observed(self.workload)

    @property
    def message(self) -> str:
        return text(self.workload, "status", "message")

    def is_current(self, controllers: Sequence[Object]) -> bool:
        """Whether the operator finds all in order, and made the pods' template from what it is now."""
        if self.workload is None or not self.is_observed:
            return False
        holding = {kind for kind, condition in conditions_of(self.workload).items() if condition.holds}
        validated = {_MUST_HOLD[field] for field in _MUST_HOLD if field in self.configs} <= holding
        ready = text(self.workload, "status", "phase") == "Ready"
        return validated and ready and self._follows_configs() and self._runs_in(controllers)

    def refusals(self, graces: Graces = GRACES) -> Iterator[tuple[str, str, float]]:
        """What the operator refuses: the reason, the message, and how long that may be a passing state."""
        for resource in (self.workload, *self.configs.values()):
            if resource is not None:
                yield from _refusals(resource, graces)

    def _follows_configs(self) -> bool:
        status = mapping(self.workload, "status")
        for field, _, hash_field in _REFERENCES:
            if field in self.configs:
                config = self.configs[field]
                if config is None or not _is_observed(config):
                    return False
                if text(config, "status", "configHash") != text(status, hash_field):
                    return False
        return True

    def _runs_in(self, controllers: Sequence[Object]) -> bool:
        deployments = [controller for controller in controllers if controller["kind"] == "Deployment"]
        templates = [mapping(controller, "spec", "template") for controller in deployments]
        runs_with = [annotations_of(template).get(_RUNS_WITH, self.checksum) for template in templates]
        return bool(runs_with) and all(checksum == self.checksum for checksum in runs_with)


def view(kube: Kube, namespace: str, kind: str, name: str) -> OperatorView:
    """Look at a workload's resource and at what belongs to it."""
    workload = kube.get(TOOLHIVE_API, kind, name, namespace)
    configs = {
        field: kube.get(TOOLHIVE_API, kind, referred, namespace)
        for field, kind, _ in _REFERENCES
        if (referred := text(workload, "spec", field, "name"))
    }
    file = "vmcp-config" if kind == "VirtualMCPServer" else "runconfig"
    runs = kube.get("v1", "ConfigMap", f"{name}-{file}", namespace)
    return OperatorView(workload, configs, str(annotations_of(runs).get(_CHECKSUM, "")))


def _is_observed(resource: Object) -> bool:
    observed = number(resource, "status", "observedGeneration")
    return bool(mapping(resource, "status")) and observed == number(resource, "metadata", "generation")


def _refusals(resource: Object, graces: Graces) -> Iterator[tuple[str, str, float]]:
    generation = number(resource, "metadata", "generation")
    reported = False
    for condition in conditions_of(resource).values():
        current = condition.generation in (None, generation)
        if condition.kind in _CONDITIONS and condition.fails and current:
            reported = True
            passes = condition.reason.endswith(_PASSING)
            grace = graces.config if passes else graces.fatal
            yield condition.reason or condition.kind, condition.message, grace
    if text(resource, "status", "phase") == "Failed" and not reported:
        yield "Failed", text(resource, "status", "message"), graces.config
