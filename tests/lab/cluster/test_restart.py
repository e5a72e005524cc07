"""After a restart of the node the API answers first, with what was true before; names resolve last."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.lab.cluster.bench import WORKLOADS, Bench, running_bench
from tests.lab.kube.fake_cluster import write_kubeconfig
from tests.lab.kube.refused import Refusal
from workshop.core.console import Console
from workshop.core.errors import DeadlineError, PreflightError
from workshop.core.ports import free_port
from workshop.core.settings import Settings
from workshop.course import environment
from workshop.course.lessons import find_lessons
from workshop.lab.base import Applied, ClusterChoices, WorkloadStatus
from workshop.lab.cluster import dns as cluster_dns
from workshop.lab.cluster.kind import KindBackend
from workshop.lab.cluster.kind_cluster import KindCluster
from workshop.lab.cluster.record import Cluster
from workshop.lab.tools.run import Runner

NODE = "workshop-control-plane"


class Node:
    """A bench that is up, whose node may be restarted: at another time each time."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.restarts = 0

    def restart(self, *, unreported: int = 0) -> None:
        """Start the node again; the API has `unreported` lists of pods to go before it tells what is true."""
        self.restarts += 1
        self.bench.cluster.api.boot = f"2026-11-22T09:{self.restarts:02}:01Z"
        self.bench.cluster.api.unreported = unreported
        self.bench.machine.restart(f"2026-11-22T09:{self.restarts:02}:00.987654321Z")

    @property
    def route(self) -> str:
        """What part 4's proxy connects to."""
        return f"practice-github:{self.bench.ports['practice-github']}"

    def site(self) -> Cluster:
        return KindBackend(self.bench.directory, Runner(), ClusterChoices()).open(new=False)

    def kind(self) -> KindCluster:
        return KindCluster(self.site())

    def status(self) -> WorkloadStatus:
        return next(item for item in environment.status().workloads if item.name == "cluster")

    def part(self, number: int, **limits: float) -> Applied | None:
        """What `part N run` does before it asks its agent."""
        (lesson,) = [found for found in find_lessons() if found.number == number]
        choices = ClusterChoices(limits=replace(self.bench.limits, **limits))
        with Console(self.bench.shown, self.bench.shown).progress() as progress:
            return environment.ensure(lesson, progress, Settings.load(), choices=choices)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with running_bench(tmp_path_factory.mktemp("restarted")) as bench:
        bench.limits = replace(bench.limits, look=0)
        bench.up()
        yield Node(bench)


@pytest.fixture
def node(kept: Node) -> Iterator[Node]:
    """All is well again after each test."""
    kept.bench.shown.seek(0)
    kept.bench.shown.truncate()
    yield kept
    kept.bench.cluster.api.refusals.clear()
    kept.bench.cluster.api.unreported = 0
    kept.bench.machine.unresolved({})


def test_what_a_started_node_still_lacks_is_named_one_after_the_other(node: Node) -> None:
    node.restart(unreported=2)
    api, kind = node.bench.cluster.api, node.kind()
    api.refusals.append(Refusal("GET /api/v1/nodes", 403, "the server has no rules yet", times=1))
    node.bench.machine.unresolved({"kubernetes.default": 1})
    assert [kind.asleep() for _ in range(5)] == [
        "its API server",
        "its node to be ready",
        "5 pods to start again",
        "cluster DNS",
        "",
    ]


def test_up_starts_a_stopped_node_and_waits_for_all_it_needs(node: Node) -> None:
    node.bench.machine.stop()
    node.bench.cluster.api.boot = "2026-11-22T09:00:01Z"
    node.bench.cluster.api.unreported = 2
    node.bench.machine.unresolved({"kubernetes.default": 2})
    before = len(node.bench.machine.calls("docker", "exec", "bash"))
    node.bench.up()
    assert node.bench.machine.calls("docker", "start", NODE)
    assert len(node.bench.machine.calls("docker", "exec", "bash")) == before + 3
    assert len(node.bench.machine.calls("kind", "create")) == 1
    assert "Start the kind cluster workshop" in node.bench.shown.getvalue()
    assert "Create the kind cluster" not in node.bench.shown.getvalue()
    assert node.bench.alive() == set(WORKLOADS)


def test_a_part_waits_for_a_node_that_was_restarted_a_moment_ago(node: Node) -> None:
    node.restart(unreported=3)
    assert node.part(4)
    assert "Wait for the kind cluster workshop" in node.bench.shown.getvalue()
    assert node.bench.cluster.api.unreported == 0
    node.bench.shown.truncate(0)
    node.part(4)
    assert "Wait for the kind cluster" not in node.bench.shown.getvalue(), "once for each start of the node"


def test_what_never_comes_is_named_with_the_way_on(node: Node) -> None:
    node.restart()
    node.bench.machine.unresolved({"kubernetes.default": 1_000_000})
    with pytest.raises(DeadlineError, match="was not ready within") as caught:
        node.part(4, restart=0)
    assert caught.value.why == "Its node runs, but it still waits for cluster DNS"
    assert f"docker logs {NODE}" in caught.value.hint


def test_status_tells_a_cluster_that_is_starting_from_one_that_is_stopped(node: Node) -> None:
    node.restart()
    node.bench.cluster.api.refusals.append(Refusal("GET /version", 403, "forbidden: no rules yet", times=1))
    assert (node.status().state, node.status().state) == ("starting", "running")
    node.bench.cluster.api.refusals.append(Refusal("GET /version", 500, "etcd is not there yet", times=1))
    assert node.status().detail == "kind workshop: its node runs, and the API is not ready yet"
    node.bench.machine.unresolved({"kubernetes.default": 1})
    assert node.status().detail.endswith(": it still waits for cluster DNS")


def test_a_stopped_cluster_is_not_started_by_a_part(node: Node) -> None:
    access = node.bench.directory / "kubeconfig"
    text = access.read_text()
    node.bench.machine.stop()
    gone = json.loads(write_kubeconfig(access, f"http://127.0.0.1:{free_port()}").read_text())
    gone["contexts"][0]["name"] = "kind-workshop"
    access.write_text(json.dumps(gone))
    try:
        with pytest.raises(PreflightError, match="does not answer") as caught:
            node.part(3)
        assert "`workshop up` starts what is stopped" in caught.value.hint
        assert node.status().state == "stopped"
        assert node.status().detail == "kind workshop: its node is stopped"
    finally:
        access.write_text(text)
        node.restart()


@pytest.mark.parametrize(
    "act", [lambda node: node.bench.up(), lambda node: node.part(4)], ids=["up", "part 4"]
)
def test_a_name_that_does_not_resolve_yet_is_waited_for(node: Node, act: Callable[[Node], object]) -> None:
    node.bench.machine.unresolved({"practice-github": 3})
    before = len(node.bench.machine.calls("kubectl", "exec"))
    assert act(node)
    assert len(node.bench.machine.calls("kubectl", "exec")) == before + 4
    assert "practice-github resolve in practice-github-1" in node.bench.shown.getvalue()


def test_a_name_that_never_resolves_is_named_with_the_pod_and_what_to_do(node: Node) -> None:
    node.bench.machine.unresolved({"practice-github": 1_000_000})
    with pytest.raises(DeadlineError) as caught:
        node.part(4, names=0)
    error = caught.value
    assert error.what.startswith("Cluster DNS does not resolve `practice-github`, asked from pod `practice")
    assert error.why.splitlines()[0] == "The pod's error: Temporary failure in name resolution"
    assert "get pods -l k8s-app=kube-dns" in error.hint


@pytest.mark.parametrize(
    "act", [lambda node: node.bench.up(), lambda node: node.part(4)], ids=["up", "part 4"]
)
def test_a_service_that_refuses_connections_yet_is_waited_for(
    node: Node, act: Callable[[Node], object]
) -> None:
    """kube-proxy learns of a pod a moment after the API: a login just then ended in `server_error`."""
    node.bench.machine.unresolved({node.route: 3})
    before = len(node.bench.machine.calls("kubectl", "exec"))
    assert act(node)
    assert len(node.bench.machine.calls("kubectl", "exec")) == before + 4


def test_a_service_that_refuses_for_ever_is_named_with_where_to_look(node: Node) -> None:
    node.bench.machine.unresolved({node.route: 1_000_000}, "Connection refused")
    with pytest.raises(DeadlineError) as caught:
        node.part(4, names=0)
    error = caught.value
    assert error.what.startswith(f"Service `{node.route}` does not accept a connection, asked from pod")
    assert error.why == "The pod's error: Connection refused"
    assert "get endpointslices -l kubernetes.io/service-name=practice-github" in error.hint


def test_a_network_without_a_way_from_pod_to_pod_is_noted_and_no_fault(node: Node) -> None:
    node.bench.machine.unresolved({node.route: 1_000_000}, "timed out")
    before = len(node.bench.machine.calls("kubectl", "exec"))
    assert node.part(4)
    assert len(node.bench.machine.calls("kubectl", "exec")) == before + 1
    assert f"but not {node.route}: a login of part 4 needs it" in node.bench.shown.getvalue()


def test_the_script_in_the_pod_tells_a_refused_connection_from_an_open_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        opened, refused = server.getsockname()[1], free_port()
        words = ["localhost", f"localhost:{opened}", f"localhost:{refused}"]
        argv = [sys.executable, "-c", cluster_dns.LOOK_UP, *words]
        told = subprocess.run(argv, capture_output=True, text=True, timeout=200, check=True).stdout
    assert told == f"localhost:{refused} Connection refused\n"


def test_without_the_right_to_run_commands_in_pods_the_check_is_left_out_openly(node: Node) -> None:
    node.bench.machine.add("no-exec", "forbidden")
    try:
        assert node.part(4)
    finally:
        (node.bench.machine.folder / "no-exec" / "forbidden").unlink()
    assert "not checked: your account may not run a command in a pod" in node.bench.shown.getvalue()


def test_what_a_killed_up_left_of_its_archives_is_cleared_by_the_next(node: Node) -> None:
    left = node.bench.directory / "images" / "load-abc" / ".images.tar.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"hundreds of MB")
    node.bench.up()
    assert not left.parent.exists()


def test_a_node_asks_for_the_name_in_one_datagram_and_reads_the_answer() -> None:
    name = b"".join(bytes([len(part)]) + part for part in b"kubernetes.default.svc.cluster.local".split(b"."))
    question = bytes.fromhex("1234 0100 0001 0000 0000 0000") + name + bytes.fromhex("00 0001 0001")
    answered = bytes.fromhex("1234 8500 0001 0001 0000 0000") + question[12:] + b"\xc0\x0c" + bytes(14)
    refused = bytes.fromhex("1234 8503 0001 0000 0000 0000") + question[12:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(60)
        script = cluster_dns.query_script(*server.getsockname())
        for answer, found in ((answered, True), (refused, False)):
            with subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE, text=True) as asking:
                asked, asker = server.recvfrom(512)
                server.sendto(answer, asker)
                assert asked == question
                assert cluster_dns.has_address(asking.communicate(timeout=200)[0]) is found
