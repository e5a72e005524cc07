"""Whether a Deployment or StatefulSet has made all the pods it should, and what keeps it from that."""

from collections.abc import Iterator

from workshop.lab.kube.objects import Object, conditions_of, mapping, number, text

_BLOCKED_SECONDS = 10.0  # a quota may have room again when an old pod is gone


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


def blocks(controller: Object) -> Iterator[tuple[str, str, float]]:
    """Why no pods are made: the reason, the message, and for how long that may be a passing state."""
    for condition in conditions_of(controller).values():
        failing = condition.kind == "ReplicaFailure" and condition.holds
        late = condition.kind == "Progressing" and condition.reason == "ProgressDeadlineExceeded"
        if failing or late:
            yield condition.reason or condition.kind, condition.message, _BLOCKED_SECONDS
