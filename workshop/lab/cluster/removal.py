"""Remove an instance from its cluster: proxies first and the operator last, because it clears finalizers."""

from collections.abc import Callable

from workshop.core.console import Progress
from workshop.core.console import Step as Line
from workshop.core.errors import WorkshopError
from workshop.lab.cluster.operator import Operator
from workshop.lab.cluster.owned_objects import (
    KINDS,
    VARIATION,
    Titled,
    await_end,
    clear_finalizers,
    gateway_kinds,
    own_titles,
    patience,
    wait_gone,
)
from workshop.lab.cluster.readiness import find_operator
from workshop.lab.cluster.record import Cluster
from workshop.lab.cluster.secrets import ClusterSecrets
from workshop.lab.kube.connection import ForbiddenError
from workshop.lab.kube.objects import labels_of, namespace_of
from workshop.toolhive.manifests import TOOLHIVE_API

_PROXIES = KINDS[:2]
_CONFIGS = KINDS[2:5]
_PLAIN = KINDS[5:]


class Removal:
    """Removes what this instance applied and installed, or one variation; each step has its time limit."""

    def __init__(self, cluster: Cluster, *, seconds: float, variation: str = "") -> None:
        self._cluster = cluster
        self._seconds = seconds
        self._variation = variation
        self._is_silent = False
        self.removed: list[str] = []

    def run(self, progress: Progress, *, must: bool, only_workloads: bool = False) -> list[str]:
        """Remove everything in order; return what was removed. With `must`, raise the first failure last.

        With `only_workloads`, what the cluster's owner made for this instance stays.
        """
        failures: list[WorkshopError] = []
        gateways = gateway_kinds(self._cluster)
        proxies, configs = (*gateways[:-1], *_PROXIES), (*_CONFIGS, *gateways[-1:])
        steps: list[tuple[str, Callable[[Line], None]]] = [
            ("Remove the proxies and servers", lambda line: self._objects(proxies, line)),
            ("Remove their configurations", lambda line: self._objects(configs, line)),
            ("Remove the secrets", self._secrets),
            ("Remove the practice GitHub", lambda line: self._objects(_PLAIN, line)),
        ]
        if not self._variation:
            steps += [
                ("Uninstall the operator", self._operator),
                ("Remove the namespaces", self._namespaces),
            ]
        for label, act in steps[:2] if only_workloads else steps:
            try:
                with progress.step(label) as line:
                    act(line)
            except WorkshopError as error:
                progress.tell(f"{error.what}: {error.why or error.hint}")
                failures.append(error)
                if not must:
                    break  # the whole cluster is deleted next
        if failures and must:
            raise failures[0]
        if self._variation:
            self._cluster.file.unmade(VARIATION + self._variation)
        return self.removed

    def _objects(self, kinds: tuple[tuple[str, str], ...], line: Line) -> None:
        for api, kind, name in own_titles(self._cluster, kinds, self._variation):
            line.note(f"{kind}/{name}")
            self._cluster.kube.delete(api, kind, name, self._cluster.namespace)
            self.removed.append(f"{kind}/{name}")

        def look() -> list[Titled]:
            return own_titles(self._cluster, kinds, self._variation)

        left = await_end(self._cluster, look, self._patience(kinds), line.note)
        for api, kind, name in left:  # all of which carries our label
            if api == TOOLHIVE_API:
                self._is_silent = True
                line.note(f"{kind}/{name}: no operator releases it, so its finalizers are cleared")
                clear_finalizers(self._cluster, self._cluster.namespace, api, kind, name)

    def _patience(self, kinds: tuple[tuple[str, str], ...]) -> float:
        """How long to wait for these; an operator that has not cleared a finalizer gets no more time."""
        if kinds == _PLAIN:
            return self._seconds
        return 0.0 if self._is_silent else patience(self._cluster, self._seconds)

    def _secrets(self, line: Line) -> None:
        record = self._cluster.record
        secrets = ClusterSecrets(self._cluster.kube, self._cluster.namespace, record.id, self._variation)
        names = secrets.delete()
        line.note(", ".join(names) or "none")
        self.removed += [f"Secret/{name}" for name in names]

    def _operator(self, line: Line) -> None:
        shared = self._cluster.record.backend == "kubernetes"
        self.removed += Operator(self._cluster, shared=shared).release(line.note)

    def _namespaces(self, line: Line) -> None:
        record = self._cluster.file.read()
        made = record.made if record else ()
        staying = f"namespace/{self._cluster.pins.namespace}" if self._operator_stays() else ""
        for thing in (each for each in made if each.startswith("namespace/") and each != staying):
            name = thing.partition("/")[2]
            found = self._cluster.kube.get("v1", "Namespace", name)
            if found and self._cluster.record.labels.items() <= labels_of(found).items():
                line.note(name)
                self._cluster.kube.delete("v1", "Namespace", name)
                wait_gone(self._cluster.kube, name, self._seconds, line.note)
                self.removed.append(thing)
            self._cluster.file.unmade(thing)

    def _operator_stays(self) -> bool:
        """Whether an operator is left in the namespace in which the workshop installs it."""
        try:
            return namespace_of(find_operator(self._cluster.kube)) == self._cluster.pins.namespace
        except ForbiddenError:
            return True
