"""The kind cluster itself: there or not, ours or not, answering or not; made, woken and taken away."""

import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from workshop.backends.cluster_record import INSTANCE_LABEL
from workshop.backends.node import trust_certificate, trusts_certificate, write_kind_config
from workshop.backends.removal import Removal
from workshop.backends.site import Site
from workshop.backends.steps import Step
from workshop.console import Progress
from workshop.console import Step as Line
from workshop.errors import DeadlineError, PreflightError, WorkshopError
from workshop.kube.client import Kube
from workshop.tools.run import copyable

_CREATE_SECONDS = 900.0
_AGAIN_SECONDS = 180.0
_ORDERLY_SECONDS = 10.0
_LOOK_SECONDS = 1.0
_NODE_CONFIG = "/kind/kubeadm.conf"
_LABEL = re.compile(rf"{re.escape(INSTANCE_LABEL)}=([A-Za-z0-9._-]+)")


class KindCluster:
    """One kind cluster, which is touched only as far as its node says that it is this instance's."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._name = site.record.name

    def look(self, line: Line) -> None:
        """The tools and their engine; raises PreflightError for what does not serve."""
        tools = self._site.tools
        engine = tools.docker.examine()
        engine.refuse_remote()
        tools.kind.examine()
        tools.helm.examine()
        tools.kubectl.examine()
        if self._name in tools.kind.clusters() and not self._site.made("cluster"):
            raise _not_ours(self._name, "this instance has not made it")
        line.note("; ".join([f"{engine.name} {engine.version}", *engine.warnings]))

    def step(self, needs: tuple[str, ...]) -> Step:
        """Make the cluster."""
        return Step(
            "cluster",
            f"Create the kind cluster {self._name}, at most {_CREATE_SECONDS / 60:.0f} min",
            self._make,
            needs=needs,
            done=self._answers,
            undo=self._delete,
            plan=self._plan,
        )

    def remove(self, progress: Progress) -> list[str]:
        """Delete the cluster, if it is ours, with a short try to do so in order."""
        site = self._site
        if not site.made("cluster"):
            return []
        if self._name not in site.tools.kind.clusters():
            progress.say(f"The kind cluster `{self._name}` is gone already")
            return []
        owner = self._owner()
        if owner != site.record.id:
            error = _not_ours(self._name, _said(owner))
            progress.tell(f"{error.what}: {error.why}. {error.hint}")
            return []
        removed: list[str] = []
        if self._reached():
            removed = Removal(site, seconds=_ORDERLY_SECONDS).run(progress, must=False)
        with progress.step(f"Delete the kind cluster {self._name}"):
            self._delete()
        return [*removed, f"cluster {self._name}"]

    def _answers(self) -> bool:
        site = self._site
        if not site.made("cluster") or self._name not in site.tools.kind.clusters():
            return False
        if not site.at.kubeconfig.exists():
            site.tools.kind.export_kubeconfig(self._name, site.at.kubeconfig)
        return self._reached() and self._trusts()

    def _make(self, line: Line) -> None:
        site, kind = self._site, self._site.tools.kind
        if self._name in kind.clusters():
            if site.installed("cluster") is not None:
                self._wake(line)
                return
            if self._owner() not in {site.record.id, None}:
                raise _not_ours(self._name, "its node carries another label")
            kind.delete(self._name, site.at.kubeconfig)  # half made by an `up` that was ended
        site.file.making("cluster")
        config = write_kind_config(site.sources, site.home / "cluster", site.record.id)
        kind.create(
            self._name,
            config,
            site.at.kubeconfig,
            site.sources.node_image,
            _CREATE_SECONDS,
            env=site.sources.proxy_environment(),
        )
        self._trust()
        site.file.installed("cluster", site.sources.node_image)

    def _plan(self) -> list[str]:
        site = self._site
        config = write_kind_config(site.sources, site.home / "cluster", site.record.id)
        argv = site.tools.kind.create_argv(self._name, config, site.at.kubeconfig, site.sources.node_image)
        return [f"write {config}", copyable(argv, site.sources.proxy_environment(), site.sources.secrets())]

    def _wake(self, line: Line) -> None:
        """Start the node of a cluster that was made, and wait until it answers."""
        for node in self._site.tools.kind.nodes(self._name):
            line.note(f"starting {node}")
            self._site.tools.runner.run(["docker", "start", node], seconds=_AGAIN_SECONDS)
        deadline = time.monotonic() + _AGAIN_SECONDS
        while not self._reached():
            if time.monotonic() > deadline:
                raise DeadlineError(
                    f"The kind cluster `{self._name}` did not answer within {_AGAIN_SECONDS:.0f} s",
                    why="Its node runs, but its API server does not answer",
                    hint="`workshop teardown`, then `workshop up` makes it anew",
                )
            line.note("waiting for its API server")
            time.sleep(_LOOK_SECONDS)
        self._trust()

    def _reached(self) -> bool:
        at = self._site.at
        try:
            Kube(at.kubeconfig, at.context).version()  # each time anew: the file changes with the cluster
        except WorkshopError:  # out of reach, starting, or with a kubeconfig of the cluster before
            return False
        return True

    def _trusts(self) -> bool:
        if self._site.sources.ca_file is None:
            return True
        return all(trusts_certificate(self._site.tools.docker, node) for node in self._nodes())

    def _trust(self) -> None:
        if self._site.sources.ca_file is not None:
            for node in self._nodes():
                trust_certificate(self._site.tools.docker, node)

    def _nodes(self) -> Sequence[str]:
        return self._site.tools.kind.nodes(self._name)

    def _owner(self) -> str | None:
        """The instance that the node's label names, read from its files: a stopped node tells, too."""
        for node in self._nodes():
            with tempfile.TemporaryDirectory() as folder:
                target = Path(folder) / "kubeadm.conf"
                try:
                    self._site.tools.docker.copy_from(node, _NODE_CONFIG, target)
                    found = _LABEL.search(target.read_text(encoding="utf-8"))
                except (WorkshopError, OSError):
                    found = None
            if found:
                return found[1]
        return None

    def _delete(self) -> None:
        self._site.tools.kind.delete(self._name, self._site.at.kubeconfig)
        self._site.at.kubeconfig.unlink(missing_ok=True)
        record = self._site.file.read()
        for thing in record.made if record else ():
            self._site.file.unmade(thing)


def _not_ours(name: str, why: str) -> PreflightError:
    return PreflightError(
        f"The kind cluster `{name}` is left alone",
        why=why[:1].upper() + why[1:],
        hint=f"`--cluster-name OTHER` takes another; if nobody needs it: `kind delete cluster --name {name}`",
    )


def _said(owner: str | None) -> str:
    return f"its node belongs to instance `{owner}`" if owner else "its node does not say whose it is"
