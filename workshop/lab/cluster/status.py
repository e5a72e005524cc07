"""The present state of a cluster and its workloads, for `status`, and the logs of its containers."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from workshop.core.errors import WorkshopError
from workshop.lab.base import State, WorkloadStatus
from workshop.lab.cluster.kind_cluster import KindCluster
from workshop.lab.cluster.readiness import OPERATOR, find_operator, version_note
from workshop.lab.cluster.record import Cluster
from workshop.lab.cluster.removal import PROXIES, Titled, gateway_kinds, own_titles
from workshop.lab.cluster.workload_state import (
    controllers_of,
    is_leaving,
    is_ready,
    newest,
    pods_of,
    troubles,
)
from workshop.lab.kube.connection import ForbiddenError, UnreachableError
from workshop.lab.kube.objects import Object, items, name_of, namespace_of, text
from workshop.lab.logs import ContainerLog
from workshop.lab.pins import pinned

_WORKLOADS = (*PROXIES, ("apps/v1", "Deployment"))


def cluster_status(cluster: Cluster) -> Sequence[WorkloadStatus]:
    """The cluster, its operator, and each workload's pods."""
    title = f"{cluster.record.backend} {cluster.record.name}"
    try:
        version = cluster.kube.version()
        state, detail = _awake(cluster)
    except WorkshopError as error:
        state, detail = _unreachable(cluster, error)
        return [WorkloadStatus("cluster", state, "", None, "", f"{title}: {detail}")]
    return [
        WorkloadStatus("cluster", state, "", None, "", f"{title}, Kubernetes {version}{detail}"),
        *_visible("operator", lambda: _operator(cluster)),
        *_visible("gateways", lambda: _workloads(cluster, _gateways(cluster))),
        *_visible("workloads", lambda: _workloads(cluster, own_titles(cluster, _WORKLOADS))),
    ]


def _awake(cluster: Cluster) -> tuple[State, str]:
    """The state of a cluster whose API answers: after a restart, the API is back before the rest."""
    lacking = KindCluster(cluster).asleep() if cluster.record.backend == "kind" else ""
    return ("starting", f": it still waits for {lacking}") if lacking else ("running", "")


def _unreachable(cluster: Cluster, error: WorkshopError) -> tuple[State, str]:
    """The state of a cluster whose API does not answer correctly."""
    if cluster.record.backend != "kind":
        return "stopped" if isinstance(error, UnreachableError) else "unhealthy", error.what
    node = KindCluster(cluster).node()
    if node is None:
        return "stopped", "its node is gone, or Docker does not answer"
    if node.running:
        return "starting", "its node runs, and the API is not ready yet"
    return "stopped", "its node is stopped"


def _visible(name: str, look: Callable[[], Sequence[WorkloadStatus]]) -> Sequence[WorkloadStatus]:
    """The rows of `look`; if it fails, one row with the reason."""
    try:
        return look()
    except ForbiddenError as error:
        return [WorkloadStatus(name, "not visible", "", None, "", error.what)]
    except WorkshopError as error:
        return [WorkloadStatus(name, "unhealthy", "", None, "", error.what)]


def _operator(cluster: Cluster) -> Sequence[WorkloadStatus]:
    found = find_operator(cluster.kube)
    if found is None:
        return [WorkloadStatus("operator", "stopped", "", None, "", "not installed")]
    row = _pods(cluster, "operator", OPERATOR, namespace_of(found))
    note = version_note(found, pinned().toolhive_version, own=cluster.record.backend == "kind")
    return [replace(row, detail=f"{row.detail} · {note}" if note else row.detail)]


def _workloads(cluster: Cluster, titles: Sequence[Titled]) -> Sequence[WorkloadStatus]:
    return [_pods(cluster, f"{kind}/{name}", name, cluster.namespace) for _, kind, name in titles]


def _gateways(cluster: Cluster) -> Sequence[Titled]:
    return own_titles(cluster, gateway_kinds(cluster)[:1])


def _pods(cluster: Cluster, title: str, name: str, namespace: str) -> WorkloadStatus:
    controllers = controllers_of(cluster.kube, namespace, name)
    pods = newest(pods_of(cluster.kube, namespace, controllers))
    ready = [pod for pod in pods if is_ready(pod)]
    names = ", ".join(name_of(pod) for pod in pods)
    detail = f"{len(ready)} of {len(pods)} pods ready"
    wrong = [trouble.summary for pod in pods for trouble in troubles(pod)]
    detail = " · ".join([detail, *([names] if names else []), *wrong[:1]])
    return WorkloadStatus(title, _state(pods, ready, wrong), "", None, "", detail)


def _state(pods: Sequence[Object], ready: Sequence[Object], wrong: Sequence[str]) -> State:
    if wrong:
        return "unhealthy"
    if not pods:
        return "stopped"
    return "running" if len(ready) == len(pods) else "starting"


def cluster_logs(cluster: Cluster) -> list[ContainerLog]:
    """The log of each present container; raises DeadlineError when the cluster does not answer."""
    titles = own_titles(cluster, _WORKLOADS)
    with contextlib.suppress(ForbiddenError):  # the account may have lost the right to see gateways
        titles = [*_gateways(cluster), *titles]
    names = [name for _, _, name in titles]
    own = [log for name in names for log in _containers(cluster, name, name, cluster.namespace)]
    return [*_operator_logs(cluster), *own]


def _operator_logs(cluster: Cluster) -> list[ContainerLog]:
    """The operator's logs; none if this account may not see it."""
    try:
        found = find_operator(cluster.kube)
        return _containers(cluster, OPERATOR, "operator", namespace_of(found)) if found else []
    except ForbiddenError:
        return []


def _containers(cluster: Cluster, name: str, workload: str, namespace: str) -> list[ContainerLog]:
    pods = pods_of(cluster.kube, namespace, controllers_of(cluster.kube, namespace, name))
    logs = []
    for pod in pods:
        containers = [text(container, "name") for container in items(pod, "spec", "containers")]
        title = name_of(pod)
        for container in containers if not is_leaving(pod) else ():
            shown = f"{title}/{container}" if len(containers) > 1 else title
            logs.append(ContainerLog(shown, workload, cluster.kube, namespace, title, container))
    return logs
