"""Several seats on one cluster: they share its operator, take turns at it, and may be given little."""

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.cluster.bench import Bench, running_bench
from tests.lab.cluster.fake_operator import OperatedEmulator, install_operator
from tests.lab.cluster.test_kubernetes import Shared
from tests.lab.kube.fake_cluster import TOOLHIVE, FakeCluster, running_cluster
from tests.lab.kube.refused import Refusal
from workshop.core.console import Console, Step
from workshop.core.errors import UsageError, WorkshopError
from workshop.course import environment
from workshop.course.environment import UpReport
from workshop.course.logs import Logs
from workshop.lab.base import Limits
from workshop.lab.cluster import checks as cluster_checks
from workshop.lab.cluster.forwards import Forwards
from workshop.lab.cluster.operator import Operator
from workshop.lab.cluster.readiness import OPERATOR
from workshop.lab.cluster.record import Cluster, ClusterFile, ClusterRecord, Tools
from workshop.lab.kube.connection import ForbiddenError
from workshop.lab.kube.lease import Lease
from workshop.lab.kube.objects import labels_of, name_of
from workshop.lab.pins import pinned
from workshop.lab.steps import StepRun
from workshop.lab.tools.clusters import Access, Helm
from workshop.lab.tools.run import Runner

WHERE = "toolhive-system"
EVERYTHING = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
# What the API server refuses an account whose rights end at its namespace, as it words it.
NARROW = {
    "GET /apis/apps/v1/deployments": ("list", "deployments", "apps", ""),
    "GET /api/v1/configmaps": ("list", "configmaps", "", ""),
    "GET /apis/coordination.k8s.io/v1/namespaces/default": (
        "get",
        "leases",
        "coordination.k8s.io",
        "default",
    ),
    "GET /apis/apiextensions.k8s.io": ("get", "customresourcedefinitions", "apiextensions.k8s.io", ""),
    "GET /api/v1/namespaces/team-a?": ("get", "namespaces", "", "team-a"),
    "GET /api/v1/namespaces/toolhive-system": ("get", "namespaces", "", WHERE),
    f"GET /apis/apps/v1/namespaces/{WHERE}": ("get", "deployments", "apps", WHERE),
    f"GET /api/v1/namespaces/{WHERE}/configmaps": ("get", "configmaps", "", WHERE),
}


class Seat(Shared):
    """One of several seats: a namespace and a state directory of its own."""

    namespace = "team-a"

    def up(self, **changes: object) -> UpReport:
        with self._at_home():
            return super().up(namespace=self.namespace, **changes)

    def teardown(self) -> list[str]:
        with self._at_home():
            return super().teardown()

    @contextmanager
    def _at_home(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("WORKSHOP_HOME", str(self.directory.parent))
            patch.setattr(cluster_checks, "_ask", self.ask)
            yield


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A cluster with neither operator nor definitions, where Helm installs and removes both."""
    monkeypatch.setattr(
        Forwards, "ensure", lambda *_: False
    )  # three processes a seat have tests of their own
    with running_bench(tmp_path, young=False) as made:
        made.cluster.drop("Deployment", OPERATOR, WHERE)
        made.cluster.api.undefined.add(TOOLHIVE)
        _let_helm_work(made, monkeypatch)
        yield made


def _let_helm_work(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade, uninstall = Operator._upgrade, Helm.uninstall

    def installs(operator: Operator, release: str, line: Step, *, first: bool) -> None:
        upgrade(operator, release, line, first=first)
        if release == OPERATOR:
            install_operator(bench.cluster)
        bench.cluster.api.undefined.discard(TOOLHIVE)

    def uninstalls(helm: Helm, release: str, namespace: str, at: Access) -> bool:
        if bench.cluster.get("Deployment", release, namespace):
            bench.cluster.drop("Deployment", release, namespace)
        return uninstall(helm, release, namespace, at)

    monkeypatch.setattr(Operator, "_upgrade", installs)
    monkeypatch.setattr(Helm, "uninstall", uninstalls)


@pytest.fixture
def seat_of(bench: Bench, tmp_path: Path) -> Iterator[Callable[[str], Seat]]:
    seats: list[Seat] = []

    def make(namespace: str) -> Seat:
        seat = Seat(tmp_path / f"state-{namespace}", bench.machine, bench.cluster)
        seat.namespace = namespace
        seats.append(seat)
        return seat

    yield make
    bench.cluster.api.refusals.clear()
    bench.cluster.api.rules = EVERYTHING
    for seat in seats:
        seat.teardown()


def left_of_us(cluster: FakeCluster) -> list[str]:
    """Everything in the cluster that we made, and not what its garbage collector takes with that."""
    kinds = [("v1", "ConfigMap"), ("v1", "Secret"), ("v1", "Service"), ("apps/v1", "Deployment")]
    kinds += [(TOOLHIVE, kind) for kind in ("MCPServer", "MCPRemoteProxy", "MCPToolConfig")]
    found = [item for kind in kinds for item in cluster.kube.list(*kind)]
    ours = [item for item in found if {"workshop/instance", "workshop/mark"} & set(labels_of(item))]
    ours += [item for item in found if name_of(item) == OPERATOR]
    ours += cluster.kube.list("coordination.k8s.io/v1", "Lease")
    return [f"{item['kind']}/{name_of(item)}" for item in ours]


@pytest.mark.parametrize("first", ["team-a", "team-b"])
def test_the_last_seat_to_leave_takes_the_operator_away(
    bench: Bench, seat_of: Callable[[str], Seat], first: str
) -> None:
    seats = {name: seat_of(name) for name in ("team-a", "team-b")}
    for seat in seats.values():
        seat.up()
    assert len(bench.machine.calls("helm", "upgrade", OPERATOR)) == 1, "the second seat uses the first one's"
    last = next(name for name in seats if name != first)
    told = seats[first].teardown()
    assert "operator" not in told
    assert f"it stays: still needed in {last}" in seats[first].shown.getvalue()
    assert bench.cluster.get("Deployment", OPERATOR, WHERE)
    told = seats[last].teardown()
    assert {"operator", f"namespace/{WHERE}", f"namespace/{last}"} <= set(told)
    assert left_of_us(bench.cluster) == []
    assert [bench.cluster.kube.get("v1", "Namespace", name) for name in (WHERE, *seats)] == [None] * 3


def test_a_seat_whose_first_up_fails_leaves_the_operator_to_the_other(
    bench: Bench, seat_of: Callable[[str], Seat], monkeypatch: pytest.MonkeyPatch
) -> None:
    late, early = seat_of("team-b"), seat_of("team-a")

    def fails(*_given: object) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("workshop.lab.cluster.workloads.wait_workload", lambda *_: None)
            late.up()
        raise WorkshopError("It cannot become ready")

    monkeypatch.setattr("workshop.lab.cluster.workloads.wait_workload", fails)
    early.limits = replace(early.limits, gone=0.2)
    with pytest.raises(WorkshopError, match="cannot become ready"):
        early.up()
    assert bench.cluster.get("Deployment", OPERATOR, WHERE), "another seat uses it by now"
    assert "operator" in late.teardown()


def test_an_operator_that_somebody_deleted_is_restored_by_the_next_up(
    bench: Bench, seat_of: Callable[[str], Seat]
) -> None:
    installer, other = seat_of("team-a"), seat_of("team-b")
    installer.up()
    other.up()
    for number, seat in enumerate((installer, other), start=2):
        bench.cluster.drop("Deployment", OPERATOR, WHERE)
        seat.up()
        assert bench.cluster.get("Deployment", OPERATOR, WHERE)
        assert len(bench.machine.calls("helm", "upgrade", OPERATOR)) == number


def test_a_teardown_without_an_operator_waits_for_nobody(
    bench: Bench, seat_of: Callable[[str], Seat]
) -> None:
    seat = seat_of("team-a")
    seat.limits = replace(seat.limits, removed=86_400.0)
    seat.up()
    bench.cluster.drop("Deployment", OPERATOR, WHERE)
    bench.cluster.api.finalizing |= {"mcpservers", "mcpremoteproxies", "mcptoolconfigs"}
    told = seat.teardown()
    assert {"MCPServer/workshop", "MCPRemoteProxy/github-remote", "MCPToolConfig/workshop-tools"} <= set(told)
    assert bench.cluster.get("StatefulSet", "workshop", "team-a") is None, (
        "its operator would have deleted it"
    )
    assert left_of_us(bench.cluster) == []


def test_two_instances_do_not_share_a_namespace(seat_of: Callable[[str], Seat]) -> None:
    seat_of("team-a").up()
    second = seat_of("team-a")
    second.directory = second.directory.parent.parent / "state-second" / "default"
    with pytest.raises(UsageError, match="Namespace `team-a` is the seat of another instance"):
        second.up()


class Installed:
    """Sites of several seats on one cluster, where installing takes until the others are there too."""

    def __init__(self, cluster: FakeCluster, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cluster = cluster
        self.folder = folder
        self.at_work: list[str] = []
        self.installs: list[str] = []
        self.together = False
        self.waiting = threading.Event()
        take = Lease._take

        def takes(held: Lease, seconds: float, _note: object) -> None:
            take(held, seconds, lambda _: self.waiting.set())

        monkeypatch.setattr(Lease, "_take", takes)
        monkeypatch.setattr(Operator, "_upgrade", self.upgrade)
        monkeypatch.setattr(Operator, "_fetched", lambda _: True)
        monkeypatch.setattr(Helm, "status", lambda *_: None)

    def upgrade(self, release: str, _line: Step, *, first: bool) -> None:
        self.at_work.append(release)
        self.together = self.together or len(self.at_work) > 1
        assert self.waiting.wait(60), "the other seat waits for its turn"
        self.installs.append(release)
        if release == OPERATOR:
            install_operator(self.cluster)
        self.cluster.api.undefined.discard(TOOLHIVE)
        self.at_work.remove(release)

    def operator(self, namespace: str) -> Operator:
        home = self.folder / namespace
        record = ClusterRecord("kubernetes", f"w-{namespace}", "test", namespace)
        file = ClusterFile(home)
        file.write(record)
        at = Access(self.cluster.kubeconfig, "test")
        tools = Tools(Runner(), home, pinned())
        return Operator(Cluster(home, record, pinned(), at, tools, file, Limits(look=0.02)))

    def up(self, namespace: str) -> None:
        with Console(io.StringIO(), io.StringIO()).progress() as progress:
            StepRun(self.operator(namespace).steps(after=()), progress).run(undo=False)


def test_seats_that_start_at_one_moment_install_one_operator_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_cluster(tmp_path, OperatedEmulator) as cluster:
        cluster.api.undefined.add(TOOLHIVE)
        installed = Installed(cluster, tmp_path, monkeypatch)
        failed: list[BaseException] = []

        def up(namespace: str) -> None:
            try:
                installed.up(namespace)
            except BaseException as error:  # noqa: BLE001 - told by the test's own thread
                failed.append(error)

        threads = [threading.Thread(target=up, args=(name,)) for name in ("team-a", "team-b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert failed == []
        assert installed.installs == ["toolhive-operator-crds", OPERATOR]
        assert not installed.together
        assert cluster.get("Lease", "workshop-operator", "default") is None


def test_a_seat_that_waited_while_another_installed_the_operator_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.StringIO()
    with running_cluster(tmp_path, OperatedEmulator) as cluster:
        install_operator(cluster)
        operator = Installed(cluster, tmp_path, monkeypatch).operator("team-a")
        with Console(shown, shown).progress() as progress:
            for step in operator.steps(after=()):
                if step.name in ("crds", "operator"):  # as if it was not done yet when the wait began
                    with progress.step(step.label) as line:
                        step.do(line)
    assert shown.getvalue().count("· another seat installed it") == 2


@pytest.fixture
def narrow(bench: Bench, seat_of: Callable[[str], Seat]) -> Seat:
    """A seat whose rights end at its namespace, where the cluster's owner has installed the operator."""
    install_operator(bench.cluster)
    bench.cluster.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a"}})
    for start, (verb, resource, group, namespace) in NARROW.items():
        where = f' in the namespace "{namespace}"' if namespace else " at the cluster scope"
        said = f'User "seat" cannot {verb} resource "{resource}" in API group "{group}"{where}'
        bench.cluster.api.refusals.append(Refusal(start, 403, f"{resource} is forbidden: {said}"))
    return seat_of("team-a")


def test_a_seat_with_rights_in_its_namespace_alone_goes_from_up_to_teardown(
    narrow: Seat, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(narrow.up().started) == {"workshop", "github-remote", "practice-github"}
    assert set(narrow.up().kept) == {"workshop", "github-remote", "practice-github"}
    monkeypatch.setenv("WORKSHOP_HOME", str(narrow.directory.parent))
    states = {item.name: item.state for item in environment.status().workloads}
    assert states["cluster"] == "running"
    assert states["operator"] == "not visible"
    assert states["MCPServer/workshop"] == "running"
    names = Logs(None).names
    assert "workshop-1" in names
    assert not [name for name in names if name.startswith(OPERATOR)]
    told = narrow.teardown()
    assert "MCPServer/workshop" in told
    assert "namespace/team-a" not in told
    assert narrow.machine.calls("helm", "upgrade") == []
    assert narrow.machine.calls("helm", "uninstall") == []


def test_all_rights_that_are_missing_are_named_at_once_and_nothing_is_tried(
    bench: Bench, narrow: Seat
) -> None:
    bench.cluster.api.rules = [{"apiGroups": [""], "resources": ["pods", "events"], "verbs": ["*"]}]
    before = len(bench.cluster.api.seen)
    with pytest.raises(ForbiddenError, match="namespace `team-a`") as caught:
        narrow.up()
    for lacking in ("mcpservers", "secrets", "services", "deployments", "pods/log", "pods/portforward"):
        assert lacking in caught.value.why
    assert "seat-role.yaml" in caught.value.hint
    writes = [line for line in bench.cluster.api.seen[before:] if not line.startswith("GET")]
    assert [line for line in writes if "/authorization.k8s.io/" not in line] == []


@pytest.mark.parametrize("sees_deployments", [False, True])
def test_who_may_not_install_the_operator_is_reported_before_anything_is_made(
    bench: Bench, narrow: Seat, *, sees_deployments: bool
) -> None:
    if sees_deployments:  # as with the cluster role `view`: it sees that there is none
        bench.cluster.drop("Deployment", OPERATOR, WHERE)
        api = bench.cluster.api
        api.refusals = [each for each in api.refusals if not each.start.endswith("/deployments")]
    else:
        bench.cluster.api.undefined.add(TOOLHIVE)
    rules = [{"apiGroups": ["", "apps", "toolhive.stacklok.dev"], "resources": ["*"], "verbs": ["*"]}]
    bench.cluster.api.rules = rules
    with pytest.raises(ForbiddenError, match="ToolHive's operator has to be installed first") as caught:
        narrow.up()
    assert "clusterroles" in caught.value.why
    assert "customresourcedefinitions" in caught.value.why
    assert narrow.machine.calls("helm", "upgrade") == []


def test_the_first_up_asks_what_a_later_one_asks_and_heals_what_does_not_answer(
    bench: Bench, seat_of: Callable[[str], Seat]
) -> None:
    seat = seat_of("team-a")
    seat.silent = ["workshop"]
    seat.up()
    assert sorted(seat.asked) == ["github-remote", "workshop", "workshop"]
    deleted = [
        line for line in bench.cluster.api.seen if line.startswith("DELETE /api/v1/namespaces/team-a/pods")
    ]
    assert [line.rpartition("/")[2].partition("?")[0] for line in deleted] == ["workshop-1", "workshop-0"]


def test_what_goes_on_without_an_answer_ends_up_and_takes_nothing_back(
    bench: Bench, seat_of: Callable[[str], Seat]
) -> None:
    seat = seat_of("team-a")
    seat.silent = ["workshop", "workshop"]
    with pytest.raises(WorkshopError, match="`workshop` fails the check `tools`"):
        seat.up()
    assert bench.cluster.get("MCPServer", "workshop", "team-a")
    assert {"operator", "namespace/team-a"} <= set(seat.made())
