"""The steps that bring ToolHive's operator into a cluster: its namespace, its definitions, itself."""

import hashlib
from pathlib import Path

from workshop.backends.node import write_operator_values
from workshop.backends.site import Site
from workshop.backends.steps import Step
from workshop.backends.workloads_in_cluster import release_ours
from workshop.console import Step as Line
from workshop.errors import DeadlineError
from workshop.kube.client import Kube
from workshop.kube.objects import Object, conditions_of, is_being_deleted, namespace_of
from workshop.kube.wait import bound, wait_for
from workshop.toolhive.readiness import OPERATOR, find_operator, wait_operator
from workshop.tools.run import copyable

CRDS_RELEASE = "toolhive-operator-crds"
_GROUP = "toolhive.stacklok.dev"
_PLURALS = ("mcpservers", "mcpremoteproxies", "mcpoidcconfigs", "mcpexternalauthconfigs", "mcptoolconfigs")
DEFINITIONS = tuple(f"{plural}.{_GROUP}" for plural in _PLURALS)
_HELM_SECONDS = 120.0
_LINGER_SECONDS = 15.0  # a namespace that ends in its own time takes less


class Operator:
    """The operator of one site; one that somebody else installed is used as it is, unless told otherwise."""

    def __init__(self, site: Site, *, shared: bool, install: bool = False) -> None:
        self._site = site
        self._shared = shared  # in a cluster of our own there is no other
        self._install = install
        self._charts = site.home / "charts"

    def steps(self, *, after: tuple[str, ...], images: tuple[str, ...] = ()) -> list[Step]:
        """From the namespaces to a running operator; `after` the cluster is there, `images` are in it."""
        names = dict.fromkeys([self._site.namespace, self.namespace])
        spaces = [self._namespace(name, after) for name in names]
        ready = tuple(step.name for step in spaces)
        return [
            Step(
                "charts",
                "Fetch the charts",
                self._fetch,
                needs=after if self._shared else (),  # on a cluster of our own, while it is being made
                done=lambda: (
                    self._fetched() or (self._shared and self._crds_there() and self._operator_there())
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
                plan=lambda: self._upgrade_plan(CRDS_RELEASE),
            ),
            Step(
                "operator",
                f"Install ToolHive's operator {self._site.sources.toolhive_version}",
                self._install_operator,
                needs=("crds", *images),
                done=self._operator_there,
                undo=self.remove,
                plan=lambda: self._upgrade_plan(OPERATOR),
            ),
            Step(
                "operator-ready",
                f"Wait for the operator, {bound(self._site.seconds)}",
                lambda line: wait_operator(
                    self._site.kube, self.where, self._site.seconds, line, replace_stuck=self._is_ours()
                ),
                needs=("operator",),
            ),
        ]

    @property
    def namespace(self) -> str:
        """Where we install it."""
        return self._site.sources.namespace

    @property
    def where(self) -> str:
        """Where it is."""
        return self._foreign() or self.namespace

    def remove(self) -> None:
        """Uninstall the operator if this instance installed it; its definitions stay, as the chart wants."""
        if self._site.made("operator"):
            self._site.tools.helm.uninstall(OPERATOR, self.namespace, self._site.at)
            self._site.file.unmade("operator")

    def _namespace(self, name: str, after: tuple[str, ...]) -> Step:
        thing = f"namespace/{name}"
        kube, file = self._site.kube, self._site.file

        def is_there() -> bool:
            found = kube.get("v1", "Namespace", name)
            return found is not None and not is_being_deleted(found)

        def make(line: Line) -> None:
            self._see_off(name, line)
            file.making(thing)
            metadata = {"name": name, "labels": self._site.record.labels}
            kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

        def remove() -> None:
            if self._site.made(thing):
                kube.delete("v1", "Namespace", name)
                file.unmade(thing)

        return Step(
            thing,
            f"Make namespace {name}",
            make,
            needs=after,
            done=is_there,
            undo=remove,
            plan=lambda: [
                copyable(["kubectl", *self._site.at.flags("--context"), "create", "namespace", name])
            ],
        )

    def _see_off(self, namespace: str, line: Line) -> None:
        """Wait until a namespace of an earlier time is gone; where its operator went first, help."""
        if self._site.kube.get("v1", "Namespace", namespace) is None:
            return
        try:
            wait_gone(self._site.kube, namespace, min(_LINGER_SECONDS, self._site.seconds), line)
        except DeadlineError:
            line.note(
                f"cleared the finalizers of {', '.join(release_ours(self._site, namespace)) or 'nothing'}"
            )
            wait_gone(self._site.kube, namespace, self._site.seconds, line)

    def _chart(self, release: str) -> str:
        sources = self._site.sources
        return sources.chart_crds if release == CRDS_RELEASE else sources.chart_operator

    def _archive(self, release: str) -> Path:
        chart, version = self._chart(release), self._site.sources.toolhive_version
        if not chart.startswith("oci://"):
            return Path(chart)
        return self._charts / f"{chart.rsplit('/', 1)[-1]}-{version}.tgz"

    def _fetched(self) -> bool:
        return all(self._archive(release).exists() for release in (CRDS_RELEASE, OPERATOR))

    def _fetch(self, line: Line) -> None:
        for release in (CRDS_RELEASE, OPERATOR):
            line.note(release)
            version = self._site.sources.toolhive_version
            self._site.tools.helm.pull(self._chart(release), version, self._charts)

    def _fetch_plan(self) -> list[str]:
        charts = [self._chart(release) for release in (CRDS_RELEASE, OPERATOR)]
        version, helm = self._site.sources.toolhive_version, self._site.tools.helm
        return [
            copyable(helm.pull_argv(chart, version, self._charts))
            for chart in charts
            if chart.startswith("oci://")
        ]

    def _values(self, release: str) -> list[Path]:
        if release == CRDS_RELEASE:
            return []
        return write_operator_values(self._site.sources, self._site.home / "operator")

    def _upgrade(self, release: str) -> None:
        site = self._site
        site.tools.helm.upgrade(
            release,
            str(self._archive(release)),
            self.namespace,
            version=site.sources.toolhive_version,
            values=self._values(release),
            at=site.at,
            seconds=_HELM_SECONDS,
        )

    def _upgrade_plan(self, release: str) -> list[str]:
        site, values = self._site, self._values(release)
        argv = site.tools.helm.upgrade_argv(
            release,
            str(self._archive(release)),
            self.namespace,
            version=site.sources.toolhive_version,
            values=values,
            at=site.at,
        )
        ours = [f"write {path}" for path in values if path.is_relative_to(site.home)]
        return [*ours, copyable(argv)]

    def _install_crds(self, line: Line) -> None:
        self._site.file.making("crds")
        self._upgrade(CRDS_RELEASE)
        wait_for(
            "ToolHive's definitions",
            lambda: self._site.kube.established(DEFINITIONS),
            done=bool,
            failed=lambda _: "",
            seconds=self._site.seconds,
            note=line.note,
        )
        self._site.file.installed("crds", self._fingerprint(CRDS_RELEASE))

    def _crds_there(self) -> bool:
        there = self._site.kube.established(DEFINITIONS)
        if there and self._foreign():
            return not self._install
        return there and self._site.installed("crds") == self._fingerprint(CRDS_RELEASE)

    def _install_operator(self, _line: Line) -> None:
        if self._site.tools.helm.status(OPERATOR, self.namespace, self._site.at) is None:
            self._site.file.making("operator")
        self._upgrade(OPERATOR)
        self._site.file.installed("operator", self._fingerprint(OPERATOR))

    def _operator_there(self) -> bool:
        if self._foreign():
            return not self._install
        site = self._site
        if site.installed("operator") != self._fingerprint(OPERATOR):
            return False
        release = site.tools.helm.status(OPERATOR, self.namespace, site.at)
        return release is not None and release.deployed

    def _is_ours(self) -> bool:
        return not self._shared or self._site.made("operator")

    def _foreign(self) -> str | None:
        """The namespace of an operator that this instance did not install."""
        if self._is_ours():
            return None
        found = find_operator(self._site.kube)
        return namespace_of(found) if found else None

    def _fingerprint(self, release: str) -> str:
        digest = hashlib.sha256(f"{self._chart(release)} {self._site.sources.toolhive_version}".encode())
        for path in self._values(release):
            digest.update(path.read_bytes())
        return digest.hexdigest()


def wait_gone(kube: Kube, namespace: str, seconds: float, line: Line) -> None:
    """Wait until a namespace that is being deleted is gone."""
    wait_for(
        f"The end of namespace `{namespace}`",
        lambda: kube.get("v1", "Namespace", namespace),
        done=lambda found: found is None,
        failed=lambda _: "",
        seconds=seconds,
        note=line.note,
        state=lambda found: "gone" if found is None else f"{namespace} is being deleted{_because(found)}",
    )


def _because(namespace: Object) -> str:
    held = conditions_of(namespace).get("NamespaceFinalizersRemaining")
    return f": {held.message}" if held is not None and held.holds else ""
