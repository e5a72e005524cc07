"""What carries this instance's label in a cluster: list it, and remove it; see its deletion through.

Proxies, servers and configs have a finalizer that ToolHive's operator clears. Where no operator runs, they
would stay for ever, so it is cleared here. Proxies go first and the operator last.
"""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from workshop.core.console import Progress
from workshop.core.console import Step as Line
from workshop.core.errors import WorkshopError
from workshop.lab.cluster.readiness import find_operator
from workshop.lab.cluster.record import INSTANCE_LABEL, Cluster, variation_label
from workshop.lab.cluster.secrets import ClusterSecrets
from workshop.lab.cluster.workload_state import replicas
from workshop.lab.kube.client import Kube, wait_for
from workshop.lab.kube.connection import ForbiddenError
from workshop.lab.kube.objects import (
    Object,
    conditions_of,
    is_being_deleted,
    labels_of,
    mapping,
    name_of,
    namespace_of,
    number,
)
from workshop.toolhive.manifests import TOOLHIVE_API

PROXIES = ((TOOLHIVE_API, "MCPRemoteProxy"), (TOOLHIVE_API, "MCPServer"))
CONFIGS = (
    (TOOLHIVE_API, "MCPExternalAuthConfig"),
    (TOOLHIVE_API, "MCPOIDCConfig"),
    (TOOLHIVE_API, "MCPToolConfig"),
)
DEFINED = (*PROXIES, *CONFIGS)  # by the operator's chart
_REST = (("apps/v1", "Deployment"), ("v1", "Service"))
KINDS = (*DEFINED, *_REST)  # in the order of their removal: an object goes before those that it refers to
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
_RESTART_SECONDS = 10.0  # an operator that restarts runs again by then
_OF_THE_WORKSHOP = {"app.kubernetes.io/part-of": "workshop"}


def own_titles(
    cluster: Cluster, kinds: Sequence[tuple[str, str]] = KINDS, variation: str = ""
) -> list[Titled]:
    """The API version, kind and name of each object that this instance, or its `variation`, applied."""
    labels = {**cluster.record.labels, **variation_label(variation)}
    return [
        (api, kind, name_of(found))
        for api, kind in kinds
        # `_OF_THE_WORKSHOP` is what the Deployments and Services that the operator creates lack.
        for found in cluster.kube.list(
            api, kind, cluster.namespace, {**labels, **({} if api == TOOLHIVE_API else _OF_THE_WORKSHOP)}
        )
    ]


def variations_made(cluster: Cluster) -> list[str]:
    """The names of the variations that this instance applied."""
    return [thing.removeprefix(VARIATION) for thing in cluster.file.made() if thing.startswith(VARIATION)]


def gateway_kinds(cluster: Cluster) -> tuple[tuple[str, str], ...]:
    """The kinds of gateways, if a variation was applied: an account may lack the right to list them."""
    return OF_GATEWAYS if variations_made(cluster) else ()


def require_gateways(cluster: Cluster) -> None:
    """Raise ForbiddenError if this account may not list gateways: it could not remove them either."""
    own_titles(cluster, OF_GATEWAYS)


def hidden_gateways(cluster: Cluster) -> dict[tuple[str, str], ForbiddenError]:
    """The kinds of gateways that this account may not list any more, each with the API server's refusal."""
    hidden = {}
    for kind in gateway_kinds(cluster):
        try:
            own_titles(cluster, (kind,))
        except ForbiddenError as error:
            hidden[kind] = error
    return hidden


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


def clear_finalizers(
    cluster: Cluster, namespace: str, api: str, kind: str, name: str, *, note: Note = lambda _: None
) -> None:
    """Clear an object's finalizers, and delete what the operator would have deleted with the object."""
    note(f"{kind}/{name} in {namespace}: no operator releases it, so its finalizers are cleared")
    cluster.kube.patch(api, kind, name, namespace, {"metadata": {"finalizers": None}})
    if kind == "MCPServer":  # its StatefulSet has no owner reference
        cluster.kube.delete("apps/v1", "StatefulSet", name, namespace)


def clear_own_finalizers(cluster: Cluster, namespace: str) -> Sequence[str]:
    """Clear the finalizers of what this instance applied, instead of the operator; return the titles."""
    hidden = hidden_gateways(cluster)
    stuck = [
        (api, kind, name_of(found))
        for api, kind in (*gateway_kinds(cluster), *KINDS)
        if (api, kind) not in hidden
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
        seconds=seconds,
        note=note,
        look_seconds=kube.look_seconds,
        state=lambda found: "gone" if found is None else f"{namespace} is being deleted{_because(found)}",
    )


def _because(namespace: Object) -> str:
    remaining = conditions_of(namespace).get("NamespaceFinalizersRemaining")
    return f": {remaining.message}" if remaining is not None and remaining.holds else ""


class Removal:
    """Removes what this instance applied and installed, or one variation; each step has its time limit.

    `release` removes the operator if this instance may, and returns what that was; without it, the operator
    and the namespaces stay.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        seconds: float,
        release: Callable[[Note], list[str]] | None = None,
        variation: str = "",
    ) -> None:
        self._cluster = cluster
        self._release = release
        self._seconds = seconds
        self._variation = variation
        self._is_silent = False
        self._hidden: dict[tuple[str, str], ForbiddenError] = {}
        self.removed: list[str] = []

    def run(self, progress: Progress, *, must: bool, only_workloads: bool = False) -> list[str]:
        """Remove everything in order; return what was removed. With `must`, raise the first failure last.

        With `only_workloads`, what the cluster's owner made for this instance stays. Gateways that this
        account may not see are told of; they are a failure only of the removal of a variation.
        """
        failures: list[WorkshopError] = []
        gateways = gateway_kinds(self._cluster)
        # The operator keeps a config that something still refers to, and retries only much later.
        proxies, configs = (*gateways[:-1], *PROXIES), (*CONFIGS, *gateways[-1:])
        steps: list[tuple[str, Callable[[Line], None]]] = [
            ("Remove the proxies and servers", lambda line: self._objects(proxies, line)),
            ("Remove their configurations", lambda line: self._objects(configs, line)),
            ("Remove the secrets", self._secrets),
            ("Remove the practice GitHub", lambda line: self._objects(_REST, line)),
        ]
        if release := self._release:
            steps += [
                ("Uninstall the operator", lambda line: self.removed.extend(release(line.note))),
                ("Remove the namespaces", self._namespaces),
            ]
        for label, act in steps[:2] if only_workloads else steps:
            try:
                with progress.step(label) as line:
                    act(line)
            except WorkshopError as error:
                progress.tell(error.in_full)
                failures.append(error)
                if not must:
                    break  # the whole cluster is deleted next
        if self._hidden and self._variation:
            failures.append(self._unseen())
        elif self._hidden and f"namespace/{self._cluster.namespace}" not in self.removed:
            progress.tell(self._unseen().in_full)
        if failures and must:
            raise failures[0]
        if self._variation:
            self._cluster.file.removed(VARIATION + self._variation)
        return self.removed

    def _unseen(self) -> ForbiddenError:
        """Which gateways may be left, and how the cluster's owner removes them."""
        kinds = ",".join(kind.lower() for _, kind in self._hidden)
        where = f"--namespace={self._cluster.namespace}"
        selector = f"--selector={INSTANCE_LABEL}={self._cluster.record.id}"
        return ForbiddenError(
            next(iter(self._hidden.values())).what,
            why="The gateway of a variation may be left",
            hint=f"The cluster's owner removes it: `kubectl {where} delete {kinds} {selector}`",
        )

    def _objects(self, wanted: tuple[tuple[str, str], ...], line: Line) -> None:
        if not self._hidden and set(wanted) & set(OF_GATEWAYS):
            self._hidden = hidden_gateways(self._cluster)
        kinds = tuple(kind for kind in wanted if kind not in self._hidden)
        for api, kind, name in own_titles(self._cluster, kinds, self._variation):
            line.note(f"{kind}/{name}")
            self._cluster.kube.delete(api, kind, name, self._cluster.namespace)
            self.removed.append(f"{kind}/{name}")

        def look() -> list[Titled]:
            return own_titles(self._cluster, kinds, self._variation)

        left = await_end(self._cluster, look, self._patience(kinds), line.note)
        for api, kind, name in left:  # all of which carries our label
            if api == TOOLHIVE_API:
                self._is_silent = True  # the next kinds are not waited for again
                clear_finalizers(self._cluster, self._cluster.namespace, api, kind, name, note=line.note)

    def _patience(self, kinds: tuple[tuple[str, str], ...]) -> float:
        """How long to wait for these; an operator that has not cleared a finalizer gets no more time."""
        if kinds == _REST:
            return self._seconds
        return 0.0 if self._is_silent else patience(self._cluster, self._seconds)

    def _secrets(self, line: Line) -> None:
        record = self._cluster.record
        secrets = ClusterSecrets(self._cluster.kube, self._cluster.namespace, record.id, self._variation)
        names = secrets.delete()
        line.note(", ".join(names) or "none")
        self.removed += [f"Secret/{name}" for name in names]

    def _namespaces(self, line: Line) -> None:
        made = self._cluster.file.made()
        staying = f"namespace/{self._cluster.pins.namespace}" if self._operator_stays() else ""
        for thing in (each for each in made if each.startswith("namespace/") and each != staying):
            name = thing.partition("/")[2]
            found = self._cluster.kube.get("v1", "Namespace", name)
            if found and self._cluster.record.labels.items() <= labels_of(found).items():
                line.note(name)
                self._cluster.kube.delete("v1", "Namespace", name)
                wait_gone(self._cluster.kube, name, self._seconds, line.note)
                self.removed.append(thing)
            self._cluster.file.removed(thing)

    def _operator_stays(self) -> bool:
        """Whether an operator is left in the namespace in which the workshop installs it."""
        try:
            return namespace_of(find_operator(self._cluster.kube)) == self._cluster.pins.namespace
        except ForbiddenError:
            return True
