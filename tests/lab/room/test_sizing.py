"""What `room create --plan` calculates from the nodes, the pods on them, and the parts' manifests."""

from typing import Any

import pytest

from tests.lab.kube.fake_cluster import FakeCluster
from tests.lab.room.rooms import ROOM, node, put_room
from workshop.core.errors import PreflightError
from workshop.course.lessons import find_lessons
from workshop.lab.base import Deployment
from workshop.lab.room.sizing import Share, Sizing, plan, seat_share

SEAT = Share(3, 150, 224)


@pytest.fixture(scope="module")
def parts() -> list[Deployment]:
    return [found for lesson in find_lessons() if (found := lesson.deployment())]


def running(name: str, namespace: str, on: str, cpu: str = "500m", memory: str = "1Gi") -> dict[str, Any]:
    containers = [{"name": "one", "resources": {"requests": {"cpu": cpu, "memory": memory}}}, {"name": "two"}]
    metadata = {"name": name, "namespace": namespace}
    spec = {"nodeName": on, "containers": containers}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def test_a_seat_is_what_the_manifests_of_the_parts_request(parts: list[Deployment]) -> None:
    assert seat_share(parts) == SEAT


def test_what_runs_on_a_node_is_not_free_except_for_the_rooms_own(
    cluster: FakeCluster, parts: list[Deployment]
) -> None:
    cluster.put(node("one"))
    cluster.put(node("two", cpu="1930m", memory="7500000Ki"))
    cluster.put(running("busy", "kube-system", "one"))
    put_room(cluster, 2)
    cluster.put(running("seat", f"{ROOM}-01", "one"))
    cluster.put(running("waiting", "kube-system", ""))
    found = plan(cluster.kube, ROOM, 30, parts)
    assert found.nodes == {"one": Share(109, 3500, 15 * 1024), "two": Share(110, 1930, 7325)}
    assert found.fits == 23 + 12 - 1  # the CPU decides on both nodes
    assert found.refusal is None
    assert plan(cluster.kube, "tuesday", 30, parts).nodes["one"] == Share(108, 3000, 14 * 1024)


@pytest.mark.parametrize(
    "spec",
    [
        {"lost": True},
        {"unschedulable": True},
        {"taints": [{"key": "x", "effect": "NoSchedule"}]},
        {"taints": [{"key": "x", "effect": "NoExecute"}]},
    ],
)
def test_a_node_that_takes_no_pods_does_not_count(
    cluster: FakeCluster, parts: list[Deployment], spec: dict[str, Any]
) -> None:
    cluster.put(node("bad", **spec))
    cluster.put(node("good", taints=[{"key": "x", "effect": "PreferNoSchedule"}]))
    assert list(plan(cluster.kube, ROOM, 1, parts).nodes) == ["good"]


@pytest.mark.parametrize(
    ("free", "fits"),
    [
        (Share(110, 64_000, 256_000), 36),  # the number of pods
        (Share(500, 4000, 256_000), 26),  # the CPU
        (Share(500, 64_000, 4096), 18),  # the memory
        (Share(2, 64_000, 256_000), 0),
        (Share(-5, -100, 4096), 0),
    ],
)
def test_the_scarcest_resource_decides(free: Share, fits: int) -> None:
    assert Sizing(ROOM, 1, SEAT, {"one": free}).fits == max(0, fits - 1)


def test_what_does_not_fit_is_refused_with_what_would_help() -> None:
    sizing = Sizing(ROOM, 1000, SEAT, {name: Share(105, 15_800, 60_000) for name in ("one", "two")})
    error = sizing.refusal
    assert isinstance(error, PreflightError)
    assert error.what == "1000 seats do not fit on this cluster: it has space for 69"
    assert error.why == (
        "When all are up, they request 3000 pods, 150 cores and 218.8 GiB; "
        "free on 2 nodes are 210 pods, 31.6 cores and 117.2 GiB"
    )
    assert (
        error.hint == "Choose fewer seats; or add 27 nodes like the largest, or use a cluster with more nodes"
    )
    more = {str(number): Share(105, 15_800, 60_000) for number in range(2 + 27)}
    assert Sizing(ROOM, 1000, SEAT, more).refusal is None


def test_a_cluster_without_a_usable_node_is_refused_without_advice_about_nodes() -> None:
    error = Sizing(ROOM, 1, SEAT, {}).refusal
    assert error
    assert "0 nodes" in error.why
    assert error.hint == "Choose fewer seats; or use a cluster with more nodes"


def test_the_figures_grow_with_the_seats() -> None:
    sizing = Sizing(ROOM, 200, SEAT, {"one": Share(1000, 100_000, 100_000)})
    assert sizing.rows == [
        ("pods", "3", "600", "1000", "333"),
        ("CPU", "0.15 cores", "30 cores", "100 cores", "666"),
        ("memory", "224 MiB", "43.75 GiB", "97.66 GiB", "446"),
    ]
    assert sizing.data["needed"] == {"pods": 600, "cpu": 30_000, "memory": 44_800}
    assert sizing.data["calls"]["up"] == 60_000
    assert any("60000 of the seats' first `up`: 100 a second" in line for line in sizing.lines)
