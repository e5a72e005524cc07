"""The logs of a cluster: what each container of the operator and of our workloads writes."""

from workshop.lab.cluster.diagnosis import controllers_of
from workshop.lab.cluster.pods import is_leaving, pods_of
from workshop.lab.cluster.readiness import OPERATOR, find_operator
from workshop.lab.cluster.site import Site
from workshop.lab.cluster.workloads import KINDS, of_ours
from workshop.lab.kube.objects import items, name_of, namespace_of, text
from workshop.lab.kube.refusals import ForbiddenError
from workshop.lab.logs import ContainerLog

_WORKLOADS = (*KINDS[:2], ("apps/v1", "Deployment"))


def cluster_logs(site: Site) -> list[ContainerLog]:
    """The log of each container there is now; raises DeadlineError when the cluster does not answer."""
    names = [name_of(item) for api, kind in _WORKLOADS for item in of_ours(site, api, kind)]
    ours = [log for name in names for log in _containers(site, name, name, site.namespace)]
    return [*_operator(site), *ours]


def _operator(site: Site) -> list[ContainerLog]:
    """The operator's, unless it is out of this account's sight."""
    try:
        found = find_operator(site.kube)
        return _containers(site, OPERATOR, "operator", namespace_of(found)) if found else []
    except ForbiddenError:
        return []


def _containers(site: Site, name: str, workload: str, namespace: str) -> list[ContainerLog]:
    pods = pods_of(site.kube, namespace, controllers_of(site.kube, namespace, name))
    logs = []
    for pod in pods:
        containers = [text(container, "name") for container in items(pod, "spec", "containers")]
        title = name_of(pod)
        for container in containers if not is_leaving(pod) else ():
            shown = f"{title}/{container}" if len(containers) > 1 else title
            logs.append(ContainerLog(shown, workload, site.kube, namespace, title, container))
    return logs
