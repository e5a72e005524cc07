"""The logs of a cluster: what each container of the operator and of our workloads writes."""

from workshop.backends.logs import ContainerLog
from workshop.backends.site import Site
from workshop.backends.workloads_in_cluster import KINDS, of_ours
from workshop.toolhive.diagnosis import controllers_of
from workshop.toolhive.pods import is_leaving, pods_of
from workshop.toolhive.readiness import OPERATOR

_WORKLOADS = (*KINDS[:2], ("apps/v1", "Deployment"))


def cluster_logs(site: Site) -> list[ContainerLog]:
    """The log of each container there is now; raises DeadlineError when the cluster does not answer."""
    found = site.kube.list("apps/v1", "Deployment", None, {"app.kubernetes.io/name": OPERATOR})
    places = [(OPERATOR, "operator", str(item["metadata"]["namespace"])) for item in found[:1]]
    places += [
        (name, name, site.namespace)
        for api, kind in _WORKLOADS
        for item in of_ours(site, api, kind)
        if (name := str(item["metadata"]["name"]))
    ]
    return [
        log for name, workload, namespace in places for log in _containers(site, name, workload, namespace)
    ]


def _containers(site: Site, name: str, workload: str, namespace: str) -> list[ContainerLog]:
    pods = pods_of(site.kube, namespace, controllers_of(site.kube, namespace, name))
    logs = []
    for pod in pods:
        containers = [str(container["name"]) for container in pod["spec"]["containers"]]
        title = pod["metadata"]["name"]
        for container in containers if not is_leaving(pod) else ():
            shown = f"{title}/{container}" if len(containers) > 1 else title
            logs.append(ContainerLog(shown, workload, site.kube, namespace, title, container))
    return logs
