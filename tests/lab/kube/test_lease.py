"""A lease has one holder at a time; who died loses it, and who renews it keeps it."""

import threading
from collections.abc import Sequence

import pytest

from tests.lab.kube.fake_cluster import FakeCluster
from tests.lab.tools.waiting import until
from workshop.core.errors import DeadlineError
from workshop.lab.kube.lease import Lease

NAME, NAMESPACE = "workshop-operator", "default"
ENOUGH = 60.0


def of(cluster: FakeCluster, holder: str, expires_seconds: int = 30) -> Lease:
    cluster.look_seconds = 0.02
    return Lease(cluster.kube, NAME, NAMESPACE, holder, renew_seconds=0.05, expires_seconds=expires_seconds)


def left_behind(cluster: FakeCluster, holder: str, seconds: int = 1) -> None:
    cluster.put(
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": seconds},
        }
    )


def holder_of(cluster: FakeCluster) -> str | None:
    found = cluster.get("Lease", NAME, NAMESPACE)
    return found["spec"]["holderIdentity"] if found else None


def test_only_one_of_several_holds_it_and_nothing_is_left(cluster: FakeCluster) -> None:
    inside: list[str] = []
    most: list[int] = []

    def work(holder: str) -> None:
        with of(cluster, holder).held(ENOUGH, lambda _: None):
            inside.append(holder)
            most.append(len(inside))
            assert holder_of(cluster) == holder
            inside.remove(holder)

    threads = [threading.Thread(target=work, args=(f"seat-{number}",)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(ENOUGH)
    assert most == [1] * 5
    assert holder_of(cluster) is None


def test_what_a_dead_holder_left_is_taken_once_it_has_expired(cluster: FakeCluster) -> None:
    left_behind(cluster, "team-a/dead")
    told: list[str] = []
    with of(cluster, "team-b/alive").held(ENOUGH, told.append):
        assert holder_of(cluster) == "team-b/alive"
    assert set(told) == {"waiting for `team-a/dead`, which is changing ToolHive's operator"}


class Clock:
    """The time of whoever waits for a lease: half a second for each renewal, however long it takes."""

    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster
        self._now = 0.0

    def monotonic(self) -> float:
        return self._now

    def sleep(self, _: float) -> None:
        before = self._renewed()
        until(lambda: self._renewed() != before)
        self._now += 0.5

    def _renewed(self) -> object:
        found = self._cluster.get("Lease", NAME, NAMESPACE)
        return found and found["spec"]["renewTime"]


def test_a_holder_that_renews_keeps_it(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    with of(cluster, "team-a/alive", expires_seconds=1).held(ENOUGH, lambda _: None):
        monkeypatch.setattr("workshop.lab.kube.lease.time", Clock(cluster))
        with (
            pytest.raises(DeadlineError, match="team-a/alive"),
            of(cluster, "team-b/late", expires_seconds=1).held(2, lambda _: None),
        ):
            pytest.fail("two hold it")
    assert holder_of(cluster) is None


def test_the_same_holder_goes_on_at_once(cluster: FakeCluster) -> None:
    left_behind(cluster, "team-a/killed", seconds=3600)
    told: list[str] = []
    with of(cluster, "team-a/killed").held(ENOUGH, told.append):
        assert told == []


def test_a_lease_that_somebody_else_has_taken_over_is_not_taken_away(cluster: FakeCluster) -> None:
    with of(cluster, "team-a/asleep").held(ENOUGH, lambda _: None):
        left_behind(cluster, "team-b/next", seconds=3600)
    assert holder_of(cluster) == "team-b/next"


def test_each_holder_writes_what_kubectl_shows(cluster: FakeCluster) -> None:
    keys: Sequence[str] = ("acquireTime", "holderIdentity", "leaseDurationSeconds", "renewTime")
    with of(cluster, "team-a/w1").held(ENOUGH, lambda _: None):
        found = cluster.get("Lease", NAME, NAMESPACE)
    assert found
    assert sorted(found["spec"]) == list(keys)
