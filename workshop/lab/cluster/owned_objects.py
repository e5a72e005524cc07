"""The objects in the cluster that carry this instance's label: list them, and see their deletion through.

Proxies, servers and configs have a finalizer that ToolHive's operator clears. Where no operator runs, they
would stay for ever, so it is cleared here.
"""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from workshop.lab.cluster.readiness import find_operator
from workshop.lab.cluster.record import Cluster, variation_label
from workshop.lab.cluster.workload_state import replicas
from workshop.lab.kube.client import Kube
from workshop.lab.kube.connection import ForbiddenError
from workshop.lab.kube.objects import Object, conditions_of, is_being_deleted, mapping, name_of, number
from workshop.lab.kube.wait import wait_for
from workshop.toolhive.manifests import TOOLHIVE_API

KINDS = (  # in the order of their removal: an object goes before those that it refers to
    (TOOLHIVE_API, "MCPRemoteProxy"),
    (TOOLHIVE_API, "MCPServer"),
    (TOOLHIVE_API, "MCPExternalAuthConfig"),
    (TOOLHIVE_API, "MCPOIDCConfig"),
    (TOOLHIVE_API, "MCPToolConfig"),
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
)
OF_GATEWAYS = (  # what only a variation applies, in the order of removal
    (TOOLHIVE_API, "VirtualMCPServer"),
    (TOOLHIVE_API, "MCPServerEntry"),
    (TOOLHIVE_API, "MCPGroup"),
)
VARIATION = "variation/"
"""What the record has before the name of each variation that was applied."""
Titled = tuple[str, str, str]
Note = Callable[[str], None]
T = TypeVar("T")
_PLAIN = ("apps/v1", "v1")
_RESTART_SECONDS = 10.0  # an operator that restarts runs again by then
_OF_THE_WORKSHOP = {"app.kubernetes.io/part-of": "workshop"}


def own_objects(cluster: Cluster, api_version: str, kind: str, variation: str = "") -> Sequence[Object]:
    """The objects of a kind that this instance applied, without those that the operator created.

    With a `variation`, only what that one applied.
    """
    plain = _OF_THE_WORKSHOP if api_version in _PLAIN else {}
    labels = {**cluster.record.labels, **variation_label(variation), **plain}
    return cluster.kube.list(api_version, kind, cluster.namespace, labels)


def own_titles(
    cluster: Cluster, kinds: Sequence[tuple[str, str]] = KINDS, variation: str = ""
) -> list[Titled]:
    """The API version, kind and name of each object that this instance, or its `variation`, applied."""
    return [
        (api, kind, name_of(found))
        for api, kind in kinds
        for found in own_objects(cluster, api, kind, variation)
    ]


def variations_made(cluster: Cluster) -> list[str]:
    """The names of the variations that this instance applied."""
    record = cluster.file.read()
    made = record.made if record else ()
    return [thing.removeprefix(VARIATION) for thing in made if thing.startswith(VARIATION)]


def gateway_kinds(cluster: Cluster) -> tuple[tuple[str, str], ...]:
    """The kinds of gateways, if a variation was applied: an account may lack the right to list them."""
    return OF_GATEWAYS if variations_made(cluster) else ()


def await_end(cluster: Cluster, look: Callable[[], list[T]], seconds: float, note: Note) -> list[T]:
    """Wait until `look` finds nothing any more; after `seconds`, return what is left."""
    deadline = time.monotonic() + seconds
    while left := look():
        if time.monotonic() > deadline:
            return left
        note(f"{len(left)} left")
        time.sleep(cluster.limits.look)
    return []


def patience(cluster: Cluster, seconds: float) -> float:
    """How long to wait for finalizers: `seconds`, or 0 if no operator runs to clear them.

    An operator that this account may not see counts as running; one that is unavailable may be back soon.
    """
    try:
        operator = find_operator(cluster.kube)
    except ForbiddenError:
        return seconds
    if operator is None or replicas(operator) == 0:
        return 0.0
    return seconds if number(operator, "status", "availableReplicas") else min(seconds, _RESTART_SECONDS)


def clear_finalizers(cluster: Cluster, namespace: str, api: str, kind: str, name: str) -> None:
    """Clear an object's finalizers, and delete what the operator would have deleted with the object."""
    cluster.kube.patch(api, kind, name, namespace, {"metadata": {"finalizers": None}})
    if kind == "MCPServer":  # its StatefulSet has no owner reference
        cluster.kube.delete("apps/v1", "StatefulSet", name, namespace)


def clear_own_finalizers(cluster: Cluster, namespace: str) -> Sequence[str]:
    """Clear the finalizers of what this instance applied, instead of the operator; return the titles."""
    stuck = [
        (api, kind, name_of(found))
        for api, kind in (*gateway_kinds(cluster), *KINDS)
        for found in cluster.kube.list(api, kind, namespace, cluster.record.labels)
        if mapping(found, "metadata").get("finalizers") and is_being_deleted(found)
    ]
    for api, kind, name in stuck:
        clear_finalizers(cluster, namespace, api, kind, name)
    return [f"{kind}/{name}" for _, kind, name in stuck]


def wait_gone(kube: Kube, namespace: str, seconds: float, note: Note) -> None:
    """Wait until a namespace that is being deleted is gone."""
    wait_for(
        f"The deletion of namespace `{namespace}`",
        lambda: kube.get("v1", "Namespace", namespace),
        done=lambda found: found is None,
        failed=lambda _: "",
        seconds=seconds,
        note=note,
        look_seconds=kube.look_seconds,
        state=lambda found: "gone" if found is None else f"{namespace} is being deleted{_because(found)}",
    )


def _because(namespace: Object) -> str:
    remaining = conditions_of(namespace).get("NamespaceFinalizersRemaining")
    return f": {remaining.message}" if remaining is not None and remaining.holds else ""
