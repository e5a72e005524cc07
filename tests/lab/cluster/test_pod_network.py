"""The pod network of a new kind node, written before kindnetd does it: fake tools and an API in memory."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.cluster.bench import WORKLOADS, Bench, running_bench
from tests.lab.cluster.fake_operator import node
from tests.lab.cluster.workloads import Script, pod
from tests.lab.kube.refused import Refusal
from workshop.lab.base import ClusterChoices
from workshop.lab.cluster.kind import KindBackend
from workshop.lab.cluster.kind_cluster import KindCluster
from workshop.lab.steps import Step
from workshop.lab.tools.run import Runner

FILE = "files/etc/cni/net.d/10-kindnet.conflist"
MTU = "files/sys/class/net/eth0/mtu"
WRITTEN = {  # what kindnetd wrote on a node of kind 0.33
    "cniVersion": "0.3.1",
    "name": "kindnet",
    "plugins": [
        {
            "type": "ptp",
            "ipMasq": False,
            "ipam": {
                "type": "host-local",
                "dataDir": "/run/cni-ipam-state",
                "routes": [{"dst": "0.0.0.0/0"}],
                "ranges": [[{"subnet": "10.244.0.0/24"}]],
            },
            "mtu": 1450,
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}


def kube_proxy(*, ready: bool) -> dict[str, Any]:
    metadata = {"namespace": "kube-system", "labels": {"k8s-app": "kube-proxy"}}
    return {**pod("kube-proxy-1", metadata=metadata, ready=ready), "spec": {"containers": []}}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A node that is not ready, and a kube-proxy that runs."""
    with running_bench(tmp_path) as made:
        made.cluster.put(node(ready=False))
        made.cluster.put(kube_proxy(ready=True))
        for name in (FILE, MTU):
            (made.machine.folder / name).parent.mkdir(parents=True)
        (made.machine.folder / MTU).write_text("1450\n")
        yield made


def steps(bench: Bench) -> list[Step]:
    cluster = KindBackend(bench.directory, Runner(), ClusterChoices(limits=bench.limits)).open(new=True)
    if not cluster.at.kubeconfig.exists():
        bench.directory.mkdir(parents=True)
        cluster.tools.kind.export_kubeconfig("workshop", cluster.at.kubeconfig)
    return KindCluster(cluster).network_steps()


def step(bench: Bench) -> Step:
    """The step for a cluster that was created a moment ago, of which only the kubeconfig is there."""
    (found,) = steps(bench)
    return found


def written(bench: Bench) -> object:
    path = bench.machine.folder / FILE
    return json.loads(path.read_text()) if path.exists() else None


def test_a_first_up_writes_what_kindnetd_would_and_a_second_up_has_no_such_step(bench: Bench) -> None:
    assert set(bench.up().started) == set(WORKLOADS)
    assert written(bench) == WRITTEN
    assert "Set up the pod network · 10.244.0.0/24, MTU 1450" in bench.shown.getvalue()
    assert len(bench.machine.calls("docker", "exec", "sh")) == 1
    assert steps(bench) == []


def test_it_is_written_once_kube_proxy_runs_and_not_before(bench: Bench) -> None:
    bench.cluster.drop("Pod", "kube-proxy-1", "kube-system")
    seen: list[object] = []

    def start(*, ready: bool) -> None:
        seen.append(written(bench))
        bench.cluster.put(kube_proxy(ready=ready))

    line = Script(lambda: start(ready=False), lambda: start(ready=True))
    step(bench).do(line)
    assert line.notes == ["waiting for kube-proxy", "waiting for kube-proxy", "10.244.0.0/24, MTU 1450"]
    assert seen == [None, None]
    assert written(bench) == WRITTEN


def test_nothing_is_written_on_a_node_that_is_ready(bench: Bench) -> None:
    bench.cluster.put(node())
    step(bench).do(Script())
    assert written(bench) is None


def test_it_waits_no_longer_once_kindnetd_has_written_it(bench: Bench) -> None:
    bench.cluster.put(kube_proxy(ready=False))
    line = Script(lambda: bench.cluster.put(node()))
    step(bench).do(line)
    assert line.notes == ["waiting for kube-proxy"]
    assert written(bench) is None


def test_a_write_that_fails_does_not_fail_up(bench: Bench) -> None:
    bench.machine.fail("docker exec sh")
    assert set(bench.up().started) == set(WORKLOADS)
    assert "Set up the pod network · left to kindnetd: " in bench.shown.getvalue()
    assert written(bench) is None


def left_to_kindnetd(bench: Bench) -> bool:
    line = Script()
    step(bench).do(line)
    (note,) = line.notes
    return note.startswith("left to kindnetd: ") and written(bench) is None


@pytest.mark.parametrize("mtu", ["", "unknown"])
def test_an_mtu_that_cannot_be_read_leaves_it_to_kindnetd(bench: Bench, mtu: str) -> None:
    path = bench.machine.folder / MTU
    path.unlink()
    if mtu:
        path.write_text(mtu)
    assert left_to_kindnetd(bench)


def test_an_api_that_refuses_to_list_pods_leaves_it_to_kindnetd(bench: Bench) -> None:
    bench.cluster.api.refusals.append(Refusal("GET /api/v1/namespaces/kube-system/pods", 403, "forbidden"))
    assert left_to_kindnetd(bench)
