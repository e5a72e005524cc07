"""How a cluster and what runs in it are now, for `status`."""

from collections.abc import Sequence
from dataclasses import replace

from workshop.backends.base import State, WorkloadStatus
from workshop.backends.site import Site
from workshop.backends.workloads_in_cluster import KINDS, of_ours
from workshop.errors import WorkshopError
from workshop.kube.objects import Object, name_of, namespace_of
from workshop.sources import pinned
from workshop.toolhive.diagnosis import controllers_of
from workshop.toolhive.pods import is_ready, newest, pods_of, troubles
from workshop.toolhive.readiness import OPERATOR, find_operator, version_note

_WORKLOADS = (*KINDS[:2], ("apps/v1", "Deployment"))


def cluster_status(site: Site) -> Sequence[WorkloadStatus]:
    """The cluster, its operator, and each workload's pods."""
    title = f"{site.record.backend} {site.record.name}"
    try:
        version = site.kube.version()
        cluster = WorkloadStatus("cluster", "running", "", None, "", f"{title}, Kubernetes {version}")
        return [cluster, *_operator(site), *_workloads(site)]
    except WorkshopError as error:
        return [WorkloadStatus("cluster", "stopped", "", None, "", f"{title}: {error.what}")]


def _operator(site: Site) -> list[WorkloadStatus]:
    found = find_operator(site.kube)
    if found is None:
        return [WorkloadStatus("operator", "stopped", "", None, "", "not installed")]
    row = _pods(site, "operator", OPERATOR, namespace_of(found))
    told = version_note(found, pinned().toolhive_version, ours=site.record.backend == "kind")
    return [replace(row, detail=f"{row.detail} · {told}" if told else row.detail)]


def _workloads(site: Site) -> list[WorkloadStatus]:
    return [
        _pods(site, f"{kind}/{name_of(found)}", name_of(found), site.namespace)
        for api, kind in _WORKLOADS
        for found in of_ours(site, api, kind)
    ]


def _pods(site: Site, title: str, name: str, namespace: str) -> WorkloadStatus:
    controllers = controllers_of(site.kube, namespace, name)
    pods = newest(pods_of(site.kube, namespace, controllers))
    ready = [pod for pod in pods if is_ready(pod)]
    names = ", ".join(name_of(pod) for pod in pods)
    detail = f"{len(ready)} of {len(pods)} pods ready"
    wrong = [trouble.told for pod in pods for trouble in troubles(pod)]
    told = " · ".join([detail, *([names] if names else []), *wrong[:1]])
    return WorkloadStatus(title, _state(pods, ready, wrong), "", None, "", told)


def _state(pods: Sequence[Object], ready: Sequence[Object], wrong: Sequence[str]) -> State:
    if wrong:
        return "unhealthy"
    if not pods:
        return "stopped"
    return "running" if len(ready) == len(pods) else "starting"
