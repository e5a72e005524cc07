"""Whether a Deployment or StatefulSet has made all the pods it should, and what keeps it from that."""

from collections.abc import Iterator, Mapping
from typing import Any

from workshop.kube.client import Object

_BLOCKED_SECONDS = 10.0  # a quota may have room again when an old pod is gone


def replicas(controller: Object) -> int:
    """How many pods are wanted."""
    wanted = controller["spec"].get("replicas")
    return 1 if wanted is None else int(wanted)


def is_rolled_out(controller: Object) -> bool:
    """What `kubectl rollout status` waits for: all pods are of the latest revision, and available."""
    status: Mapping[str, Any] = controller.get("status", {})
    wanted = replicas(controller)
    if status.get("observedGeneration", 0) < controller["metadata"].get("generation", 1):
        return False
    if status.get("updatedReplicas", 0) < wanted:
        return False
    if controller["kind"] == "StatefulSet":
        same = status.get("currentRevision") == status.get("updateRevision")
        return bool(same and status.get("readyReplicas", 0) >= wanted)
    old = status.get("replicas", 0) - status.get("updatedReplicas", 0)
    return bool(old <= 0 and status.get("availableReplicas", 0) >= wanted)


def blocks(controller: Object) -> Iterator[tuple[str, str, float]]:
    """Why no pods are made: the reason, the message, and for how long that may be a passing state."""
    for item in controller.get("status", {}).get("conditions", ()):
        failing = item["type"] == "ReplicaFailure" and item["status"] == "True"
        late = item["type"] == "Progressing" and item.get("reason") == "ProgressDeadlineExceeded"
        if failing or late:
            yield item.get("reason", item["type"]), item.get("message", ""), _BLOCKED_SECONDS
