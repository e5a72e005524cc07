"""What keeps a pod from running, and how long that may still heal by itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workshop.lab.kube.client import Event, Kube
from workshop.lab.kube.objects import (
    Condition,
    Object,
    conditions_of,
    container_statuses_of,
    created_at,
    is_being_deleted,
    items,
    mapping,
    name_of,
    number,
    text,
)
from workshop.toolhive.known_messages import Place, recognise

_NEVER = 2.0  # what cannot heal: not at the first sight, which may be of a pod about to be replaced
_SOON = 15.0  # a secret made a moment later, a volume that is mounted at the second try
_REGISTRY = 60.0  # a registry or a network that stumbles
_ROOM = 45.0  # a pod that is still leaving
_NODE = 150.0  # a node that is being made; which taint it has is not told since Kubernetes 1.34.2
_FAR = float("inf")  # the caller's bound alone

_PULLS = ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError")
_HOPELESS = ("InvalidImageName", "ErrImageNeverPull")
_WAITS = ("ContainerCreating", "PodInitializing")


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
    def told(self) -> str:
        return f"{self.reason}: {self.message}" if self.message else self.reason

    @property
    def place(self) -> Place:
        """Where its message stands among the messages that we know."""
        return place_of(self.reason, self.message)


def place_of(reason: str, message: str) -> Place:
    """Whether a pod's trouble or event is about the pull of an image."""
    of_a_pull = reason in (*_PULLS, *_HOPELESS) or "pull" in message.lower()
    return "pull" if of_a_pull else "pod"


def pods_of(kube: Kube, namespace: str, controllers: Iterable[Object]) -> Sequence[Object]:
    """The pods that Deployments and StatefulSets select, each once."""
    found: dict[str, Object] = {}
    for controller in controllers:
        labels = mapping(controller, "spec", "selector", "matchLabels")
        if labels:  # without any the API would list every pod of the namespace
            found |= {name_of(pod): pod for pod in kube.list("v1", "Pod", namespace, labels)}
    return list(found.values())


def is_leaving(pod: Object) -> bool:
    """Whether a pod has been told to end, or has ended."""
    return is_being_deleted(pod) or text(pod, "status", "phase") in ("Succeeded", "Failed")


def is_ready(pod: Object) -> bool:
    """Whether a pod serves and will go on doing so."""
    ready = conditions_of(pod).get("Ready")
    return ready is not None and ready.holds and not is_leaving(pod)


def newest(pods: Sequence[Object]) -> Sequence[Object]:
    """The pods of the controllers' latest revisions: an older one's troubles end with it."""
    latest: dict[str, tuple[str, str]] = {}
    for pod in pods:
        controller, revision = _revision(pod)
        latest[controller] = max(latest.get(controller, ("", "")), (created_at(pod), revision))
    return [pod for pod in pods if _revision(pod)[1] == latest[_revision(pod)[0]][1] and not is_leaving(pod)]


def troubles(pod: Object, events: Sequence[Event] = ()) -> Sequence[Trouble]:
    """Everything that keeps this pod from running."""
    name = name_of(pod)
    found = [
        trouble
        for container in (*items(pod, "status", "initContainerStatuses"), *container_statuses_of(pod))
        if (trouble := _container(name, container))
    ]
    scheduled = conditions_of(pod).get("PodScheduled")
    if scheduled is not None and scheduled.reason == "Unschedulable":
        found.append(_unschedulable(name, scheduled))
    found += [
        Trouble(name, "", event.reason, event.message, _SOON)
        for event in events
        if event.reason in ("FailedMount", "FailedCreatePodSandBox") and _is_creating(pod)
    ][-1:]
    return found


def _container(pod: str, container: Mapping[str, Any]) -> Trouble | None:
    waiting, name = mapping(container, "state", "waiting"), text(container, "name")
    reason, message = text(waiting, "reason"), " ".join(text(waiting, "message").split())
    if not reason or reason in _WAITS:
        return None
    if reason == "CrashLoopBackOff":
        ended = mapping(container, "lastState", "terminated")
        count = number(container, "restartCount")
        times = "once" if count == 1 else f"{count} times, last"
        told = f"it ended {times} with {text(ended, 'reason') or 'Error'} ({number(ended, 'exitCode')})"
        return Trouble(pod, name, reason, told, _FAR, count)
    return Trouble(pod, name, reason, message, _patience(reason, message))


def _patience(reason: str, message: str) -> float:
    if reason in _HOPELESS:
        return _NEVER
    known = recognise([(place_of(reason, message), message)])
    if known and not known.heals:
        return _NEVER
    return _REGISTRY if reason in _PULLS else _SOON


def _unschedulable(pod: str, condition: Condition) -> Trouble:
    message = condition.message
    starting = "not-ready" in message or "not ready" in message
    tainted = "untolerated taint" in message and "Insufficient" not in message
    return Trouble(pod, "", "Unschedulable", message, _FAR if starting else _NODE if tainted else _ROOM)


def _is_creating(pod: Object) -> bool:
    return any(
        text(container, "state", "waiting", "reason") in _WAITS for container in container_statuses_of(pod)
    )


def _revision(pod: Object) -> tuple[str, str]:
    owners = items(pod, "metadata", "ownerReferences") or [{}]
    kind, owner = text(owners[0], "kind"), text(owners[0], "name")
    return (kind, owner) if kind == "ReplicaSet" else (f"{kind}/{owner}", owner)
