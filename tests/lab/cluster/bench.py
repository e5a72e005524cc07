"""A machine with fake tools and a cluster's API in memory, for the tests of the backends on clusters."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.cluster.fake_operator import OperatedEmulator, install_operator
from tests.lab.cluster.fake_tools import FakeMachine
from tests.lab.kube.fake_cluster import FakeCluster, running_cluster
from workshop.core.console import Console
from workshop.core.errors import WorkshopError
from workshop.core.ports import free_port
from workshop.course import environment
from workshop.course.environment import UpOptions, UpReport
from workshop.course.lessons import find_lessons
from workshop.lab import process
from workshop.lab.base import ClusterChoices, Limits
from workshop.lab.cluster import checks as cluster_checks
from workshop.lab.cluster.endpoint_checks import CheckResult
from workshop.lab.cluster.record import Cluster, ClusterFile, ClusterRecord, Tools
from workshop.lab.cluster.render import RenderedPart
from workshop.lab.pins import Pins, pinned
from workshop.lab.tools.clusters import Access
from workshop.lab.tools.run import Runner

IMAGES = {"mcp-server": "lab/mcp-server:1", "practice": "lab/practice:1"}
WORKLOADS = ("workshop", "github-remote", "practice-github")
LOADING = "docker save"  # the command by whose failure no image comes into the node


def site_in(home: Path, record: ClusterRecord, pins: Pins | None = None, at: Access | None = None) -> Cluster:
    """A cluster as its backend opens it, whose instance has this record and this directory."""
    pins = pins or pinned()
    at = at or Access(home / "kubeconfig")
    return Cluster(home, record, pins, at, Tools(Runner(), home, pins), ClusterFile(home), Limits(look=0))


class Bench:
    """A machine with fake tools, a cluster's API, and one instance."""

    def __init__(self, home: Path, machine: FakeMachine, cluster: FakeCluster) -> None:
        self.directory = home / "default"
        self.machine = machine
        self.cluster = cluster
        self.ports = {name: free_port() for name in WORKLOADS}
        self.shown = io.StringIO()
        self.first: UpReport | None = None
        self.asked: list[str] = []
        self.silent: list[str] = []
        self.limits = Limits(look=0.1, retry=0, route=0)  # what is silent has a route, and is stuck

    def up(self, **changes: object) -> UpReport:
        given = {
            "backend": "kind",
            "upstream": "practice",
            "ports": self.ports,
            "overrides": IMAGES,
            "limits": self.limits,
        }
        options = UpOptions(**{**given, **changes})  # type: ignore[arg-type]  # the tests' own choice
        with Console(self.shown, self.shown).progress() as progress:
            return environment.up(find_lessons(), progress, options, Runner())

    def half_up(self, **changes: object) -> None:
        """A first `up` that failed and was kept: there is a cluster, and nothing in it yet."""
        self.machine.fail(LOADING)
        with pytest.raises(WorkshopError, match="failed"):
            self.up(keep=True, **changes)
        self.machine.fail()

    def ask(self, part: RenderedPart, name: str, _site: Cluster) -> list[CheckResult]:
        """What an MCP client sees behind the forwards; each name in `silent` is once without an answer."""
        self.asked.append(name)
        if name in self.silent:
            self.silent.remove(name)
            raise WorkshopError(f"`{name}` fails the check `tools`", why="502: bad gateway")
        return [CheckResult("tools", passed=True, found="all")]

    def teardown(self) -> list[str]:
        with Console(self.shown, self.shown).progress() as progress:
            return list(environment.teardown(progress, Runner(), ClusterChoices(limits=self.limits)))

    def alive(self) -> set[str]:
        states = process.read_states(self.directory / "workloads")
        return {name for name, state in states.items() if process.find(state)}

    def made(self) -> tuple[str, ...]:
        record = ClusterFile(self.directory).read()
        return record.made if record else ()


@contextmanager
def running_bench(folder: Path, *, young: bool = True) -> Iterator[Bench]:
    """A machine with the tools, a cluster's API to come, and an instance with nothing up.

    The definitions of a young cluster are established a look after they are there.
    """
    with pytest.MonkeyPatch.context() as patch, running_cluster(folder, OperatedEmulator) as cluster:
        patch.setenv("WORKSHOP_HOME", str(folder / "state"))
        patch.setattr("workshop.core.settings.checkout_dir", lambda: None)
        patch.chdir(folder)
        install_operator(cluster, young=young)
        text = cluster.kubeconfig.read_text()
        text = text.replace('"name": "test", "context"', '"name": "CONTEXT", "context"')
        machine = FakeMachine.install(folder, patch, text)
        made = Bench(folder / "state", machine, cluster)
        patch.setattr(cluster_checks, "_ask", made.ask)
        yield made
        machine.fail()
        cluster.api.refusals.clear()
        made.teardown()
