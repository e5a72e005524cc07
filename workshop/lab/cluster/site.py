"""One instance's cluster as one command sees it: how it is reached, what it is made from, and with."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from workshop.lab.cluster.record import ClusterFile, ClusterRecord
from workshop.lab.kube.client import Kube
from workshop.lab.sources import Sources
from workshop.lab.tools.access import Access
from workshop.lab.tools.docker import Docker
from workshop.lab.tools.helm import Helm
from workshop.lab.tools.kind import Kind
from workshop.lab.tools.kubectl import Kubectl
from workshop.lab.tools.run import Runner

WAIT_SECONDS = 300.0


class Tools:
    """The programs a cluster is made with, on one runner."""

    def __init__(self, runner: Runner, home: Path, sources: Sources) -> None:
        self.runner = runner
        self.docker = Docker(runner)
        self.kind = Kind(runner)
        self.helm = Helm(runner, home / "helm", sources.ca_file, sources.proxy_environment())
        self.kubectl = Kubectl(runner)


@dataclass(frozen=True)
class Site:
    """The cluster of one instance: its folder here, its record, its access, its sources."""

    home: Path
    record: ClusterRecord
    sources: Sources
    at: Access
    tools: Tools = field(repr=False)
    file: ClusterFile = field(repr=False)
    seconds: float = WAIT_SECONDS

    @cached_property
    def kube(self) -> Kube:
        """The cluster's objects."""
        return Kube(self.at.kubeconfig, self.at.context, own_nodes=self.own_nodes)

    @property
    def own_nodes(self) -> bool:
        """Whether the cluster's nodes are ours."""
        return self.record.backend == "kind"

    @property
    def namespace(self) -> str:
        """Where the workloads are."""
        return self.record.namespace

    def made(self, thing: str) -> bool:
        """Whether this instance made, or began to make, a thing in its cluster."""
        record = self.file.read()
        return record is not None and thing in record.made

    def installed(self, thing: str) -> str | None:
        """From what a thing is installed, as it was noted last."""
        record = self.file.read()
        return record.installed.get(thing) if record else None
