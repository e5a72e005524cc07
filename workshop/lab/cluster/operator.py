"""The steps that install ToolHive's operator: its namespace, its custom resource definitions, its release."""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from workshop.core.console import Step as Line
from workshop.core.errors import DeadlineError
from workshop.core.paths import cluster_dir, write_private
from workshop.lab.cluster.readiness import OPERATOR, find_operator, wait_operator
from workshop.lab.cluster.record import MANAGED_BY, Cluster
from workshop.lab.cluster.removal import DEFINED, clear_own_finalizers, wait_gone
from workshop.lab.cluster.seats import Seats, require_removal_rights, require_rights
from workshop.lab.cluster.workload_state import replicas
from workshop.lab.kube.client import bound, wait_for
from workshop.lab.kube.connection import ForbiddenError
from workshop.lab.kube.objects import is_being_deleted, labels_of, namespace_of
from workshop.lab.pins import Pins
from workshop.lab.steps import Step
from workshop.lab.tools.clusters import Helm
from workshop.lab.tools.run import copyable
from workshop.toolhive.manifests import TOOLHIVE_API

CRDS_RELEASE = "toolhive-operator-crds"
DEFINITIONS = tuple(kind for _, kind in DEFINED)
# The operator's own lease, which it does not delete.
_ELECTION = ("coordination.k8s.io/v1", "Lease", "toolhive-operator-leader-election")
_HELM_SECONDS = 120.0
_PENDING_SECONDS = 60.0  # a more recent Helm operation may be another person's, and still running
_NOT_INSTALLED = "the workshop did not install it, so it stays"
_CRDS_STAY = "its definitions (CRDs) stay, because others may use them"
_LINGER_SECONDS = 15.0  # a namespace whose finalizers are cleared is deleted faster


class Operator:
    """The operator of one cluster; somebody else's is used unchanged, unless `install` is set."""

    def __init__(self, cluster: Cluster, *, install: bool = False) -> None:
        self._cluster = cluster
        self._seats = None if cluster.own_nodes else Seats(cluster)  # a cluster of our own has no seats
        self._install = install
        self._charts = cluster.home / "charts"

    def steps(self, *, after: tuple[str, ...], images: tuple[str, ...] = ()) -> list[Step]:
        """From the namespaces to a running operator, after the steps `after` and, for its pod, `images`."""
        spaces = self._spaces(after)
        ready = tuple(step.name for step in spaces)
        return [
            Step(
                "charts",
                "Fetch the charts",
                self._fetch,
                # On a cluster of our own, already while it is being created.
                needs=ready if self._seats else (),
                done=lambda: (
                    self._fetched()
                    or (self._seats is not None and self._crds_there() and self._operator_there())
                ),
                plan=self._fetch_plan,
            ),
            *spaces,
            Step(
                "crds",
                "Install ToolHive's definitions",
                self._install_crds,
                needs=("charts", *ready),
                done=self._crds_there,
                undo=self._take_back,
                plan=lambda: self._upgrade_plan(CRDS_RELEASE),
            ),
            Step(
                "operator",
                f"Install ToolHive's operator {self._cluster.pins.toolhive_version}",
                self._install_operator,
                needs=("crds", *images),
                done=self._operator_there,
                undo=self._take_back,
                plan=lambda: self._upgrade_plan(OPERATOR),
            ),
            Step(
                "operator-ready",
                f"Wait for the operator, {bound(self._cluster.limits.ready)}",
                self._wait_ready,
                needs=("operator",),
            ),
        ]

    @property
    def namespace(self) -> str:
        """The namespace in which the workshop installs the operator."""
        return self._cluster.pins.namespace

    def release(self, note: Callable[[str], None]) -> list[str]:
        """Remove the operator if a seat installed it and no other needs it; return what was removed.

        Its definitions stay, as its chart specifies, because others may use them.
        """
        with self._exclusively(note):
            if self._seats:
                self._seats.leave()
            try:
                of_a_seat, others = self._is_a_seats(), self._seats.others() if self._seats else ()
                if others:
                    note(f"it stays: still needed in {', '.join(others)}" if of_a_seat else _NOT_INSTALLED)
                    return []
                removed = self._uninstall(note) if of_a_seat else []
                removed += self._clear_namespace(note)
                note(_CRDS_STAY if of_a_seat else _NOT_INSTALLED)
            except ForbiddenError as refused:
                note(f"it stays: its owner has to remove it. {refused.what}")
                return []
            return removed

    def _take_back(self) -> None:
        self.release(lambda _: None)

    def _spaces(self, after: tuple[str, ...]) -> list[Step]:
        if not self._seats:
            names = dict.fromkeys([self._cluster.namespace, self.namespace])
            return [self._namespace(name, after) for name in names]
        kubectl, namespace = self._cluster.tools.kubectl, self._cluster.namespace
        argv = kubectl.argv(self._cluster.at, "auth", "can-i", "--list", "--namespace", namespace)
        rights = Step(
            "rights",
            "Check what this account may do",
            self._require_rights,
            needs=after,
            plan=lambda: [copyable(argv)],
        )
        return [rights, self._namespace(self._cluster.namespace, ("rights",))]

    def _namespace(self, name: str, after: tuple[str, ...]) -> Step:
        thing, kubectl = f"namespace/{name}", self._cluster.tools.kubectl

        def is_there() -> bool:
            return self._is_there(name) and (self._seats is None or self._seats.entered())

        def make(line: Line) -> None:
            with self._exclusively(line.note):
                self._make_namespace(name, line)
                if self._seats:
                    self._seats.enter()

        def remove() -> None:
            if self._seats:
                self._seats.leave()
            if self._cluster.made(thing):
                self._cluster.kube.delete("v1", "Namespace", name)
                self._cluster.file.removed(thing)

        return Step(
            thing,
            f"Create namespace {name}",
            make,
            needs=after,
            done=is_there,
            undo=remove,
            plan=lambda: [copyable(kubectl.argv(self._cluster.at, "create", "namespace", name))],
        )

    def _is_there(self, name: str) -> bool:
        """Whether a namespace exists; one that this account may not read counts as existing."""
        try:
            found = self._cluster.kube.get("v1", "Namespace", name)
        except ForbiddenError:
            return True
        return found is not None and not is_being_deleted(found)

    def _make_namespace(self, name: str, line: Line) -> None:
        if self._is_there(name):
            return
        self._await_deletion(name, line)
        self._cluster.file.creating(f"namespace/{name}")
        metadata = {"name": name, "labels": self._cluster.record.labels}
        self._cluster.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    def _exclusively(self, note: Callable[[str], None]) -> AbstractContextManager[None]:
        """On a shared cluster, hold the lease for changes of the operator."""
        return self._seats.turn(note) if self._seats else nullcontext()

    def _require_rights(self, line: Line) -> None:
        """Raise ForbiddenError for all missing rights, before anything is changed."""
        try:
            installs = not (self._crds_there() and self._operator_there())
        except ForbiddenError:  # there is no operator, or this account may not look for it
            installs = True
        makes = not self._is_there(self._cluster.namespace)
        require_rights(self._cluster, makes_namespace=makes, installs_in=self.namespace if installs else None)
        line.note("all the rights that are needed")

    def _await_deletion(self, namespace: str, line: Line) -> None:
        """Wait until an old namespace is deleted; if its operator was deleted first, clear the finalizers."""
        seconds = self._cluster.limits.ready
        if self._cluster.kube.get("v1", "Namespace", namespace) is None:
            return
        try:
            wait_gone(self._cluster.kube, namespace, min(_LINGER_SECONDS, seconds), line.note)
        except DeadlineError:
            cleared = ", ".join(clear_own_finalizers(self._cluster, namespace))
            line.note(f"cleared the finalizers of {cleared or 'nothing'}")
            wait_gone(self._cluster.kube, namespace, seconds, line.note)

    def _chart(self, release: str) -> str:
        pins = self._cluster.pins
        return pins.chart_crds if release == CRDS_RELEASE else pins.chart_operator

    def _archive(self, release: str) -> Path:
        return Helm.archive(self._chart(release), self._cluster.pins.toolhive_version, self._charts)

    def _fetched(self) -> bool:
        return all(self._archive(release).exists() for release in (CRDS_RELEASE, OPERATOR))

    def _fetch(self, line: Line) -> None:
        for release in (CRDS_RELEASE, OPERATOR):
            line.note(release)
            version = self._cluster.pins.toolhive_version
            self._cluster.tools.helm.pull(self._chart(release), version, self._charts)

    def _fetch_plan(self) -> list[str]:
        charts = [self._chart(release) for release in (CRDS_RELEASE, OPERATOR)]
        version, helm = self._cluster.pins.toolhive_version, self._cluster.tools.helm
        pulled = [chart for chart in charts if chart.startswith("oci://")]
        return [copyable(helm.pull_argv(chart, version, self._charts)) for chart in pulled]

    def _values(self, release: str) -> list[Path]:
        if release == CRDS_RELEASE:
            return []
        return write_operator_values(self._cluster.pins, self._cluster.home / "operator")

    def _upgrade(self, release: str, line: Line, *, first: bool) -> None:
        self._cluster.tools.helm.upgrade(
            release,
            str(self._archive(release)),
            self.namespace,
            version=self._cluster.pins.toolhive_version,
            values=self._values(release),
            at=self._cluster.at,
            seconds=_HELM_SECONDS,
            first=first,
            patience=_PENDING_SECONDS if self._seats else 0.0,
            note=line.note,
        )

    def _is_first(self, thing: str) -> bool:
        """Whether nobody can have begun to install it, so that Helm need not look, which takes a second."""
        return self._seats is None and not self._cluster.made(thing)

    def _upgrade_plan(self, release: str) -> list[str]:
        cluster, values = self._cluster, self._values(release)
        argv = cluster.tools.helm.upgrade_argv(
            release,
            str(self._archive(release)),
            self.namespace,
            version=cluster.pins.toolhive_version,
            values=values,
            at=cluster.at,
        )
        written = [f"write {path}" for path in values if path.is_relative_to(cluster.home)]
        return [*written, copyable(argv)]

    def _install_crds(self, line: Line) -> None:
        with self._exclusively(line.note):
            if self._crds_there():
                line.note("another seat installed it")  # while this one waited
                return
            self._make_namespace(self.namespace, line)
            first = self._is_first("crds")
            self._cluster.file.creating("crds")
            self._upgrade(CRDS_RELEASE, line, first=first)
            wait_for(
                "ToolHive's definitions",
                lambda: self._cluster.kube.serves(TOOLHIVE_API, DEFINITIONS),
                done=bool,
                seconds=self._cluster.limits.ready,
                note=line.note,
                look_seconds=self._cluster.limits.look,
            )
            self._cluster.file.installed("crds", self._fingerprint(CRDS_RELEASE))
            self._claim("crds")

    def _crds_there(self) -> bool:
        if not self._cluster.kube.serves(TOOLHIVE_API, DEFINITIONS):
            return False
        if self._is_anothers():
            return not self._install
        wanted = self._fingerprint(CRDS_RELEASE)
        by_a_seat = self._seats.claimed(self.namespace, "crds") if self._seats else ""
        return wanted in (self._cluster.installed("crds"), by_a_seat)

    def _install_operator(self, line: Line) -> None:
        with self._exclusively(line.note):
            if self._operator_there():
                line.note("another seat installed it")  # while this one waited
                return
            self._make_namespace(self.namespace, line)
            first = self._is_first("operator")
            if first or self._cluster.tools.helm.status(OPERATOR, self.namespace, self._cluster.at) is None:
                self._cluster.file.creating("operator")
                self._claim("operator")  # before Helm starts, so that also an interrupted one is removed
            self._upgrade(OPERATOR, line, first=first)
            self._cluster.file.installed("operator", self._fingerprint(OPERATOR))

    def _operator_there(self) -> bool:
        """Whether its Deployment exists, and, if this instance installs it, is up to date."""
        if self._is_anothers():
            return not self._install
        found = find_operator(self._cluster.kube)
        if found is None or replicas(found) == 0:
            return False
        return self._cluster.installed("operator") == self._fingerprint(OPERATOR)

    def _installs_it(self) -> bool:
        return self._seats is None or self._cluster.made("operator")

    def _is_anothers(self) -> bool:
        """Whether there is an operator that this instance did not install, or may not see."""
        if self._installs_it():
            return False
        try:
            return find_operator(self._cluster.kube) is not None
        except ForbiddenError:
            return True

    def _wait_ready(self, line: Line) -> None:
        try:
            found = find_operator(self._cluster.kube)
            where = namespace_of(found) or self.namespace
            stuck = self._installs_it()
            wait_operator(self._cluster.kube, where, self._cluster.limits.ready, line, replace_stuck=stuck)
        except ForbiddenError:
            line.note("not visible to this account")

    def _claim(self, thing: str) -> None:
        if self._seats:
            release = OPERATOR if thing == "operator" else CRDS_RELEASE
            self._seats.claim(self.namespace, thing, self._fingerprint(release))

    def _is_a_seats(self) -> bool:
        """Whether this instance, or another seat, installed the operator."""
        by_a_seat = self._seats.claimed(self.namespace, "operator") if self._seats else ""
        return bool(by_a_seat) or self._cluster.made("operator")

    def _uninstall(self, note: Callable[[str], None]) -> list[str]:
        note(OPERATOR)
        if self._seats:
            require_removal_rights(self._cluster, self.namespace)
        self._cluster.tools.helm.uninstall(OPERATOR, self.namespace, self._cluster.at)
        self._cluster.file.removed("operator")
        self._cluster.kube.delete(*_ELECTION, self.namespace)
        return ["operator"]

    def _clear_namespace(self, note: Callable[[str], None]) -> list[str]:
        """Remove the operator's namespace if a seat created it; a seat's own is removed with that seat."""
        name, kube = self.namespace, self._cluster.kube
        if self._seats is None:
            return []
        self._seats.disclaim(name)
        self._cluster.file.removed(f"namespace/{name}")
        in_use = namespace_of(find_operator(kube)) == name
        found = kube.get("v1", "Namespace", name)
        if in_use or name == self._cluster.namespace or not MANAGED_BY.items() <= labels_of(found).items():
            return []
        kube.delete("v1", "Namespace", name)
        wait_gone(kube, name, self._cluster.limits.ready, note)
        return [f"namespace/{name}"]

    def _fingerprint(self, release: str) -> str:
        digest = hashlib.sha256(f"{self._chart(release)} {self._cluster.pins.toolhive_version}".encode())
        for path in self._values(release):
            digest.update(path.read_bytes())
        return digest.hexdigest()


def write_operator_values(pins: Pins, folder: Path) -> list[Path]:
    """Write the values of the operator's chart; the files, in the order in which Helm takes them."""
    import yaml

    images = {"image": pins.operator, "toolhiveRunnerImage": pins.proxy_runner, "vmcpImage": pins.vmcp}
    path = folder / "operator-images.yaml"
    write_private(path, yaml.safe_dump({"operator": images}, sort_keys=False).encode())
    return [cluster_dir() / "operator-values.yaml", path]
