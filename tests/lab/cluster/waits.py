"""Waits for the proxy of part 4, and the two ways they end badly."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.lab.cluster.workloads import (
    PROXY,
    Script,
    pod,
    put_proxy,
    resource,
)
from tests.lab.kube.fake_cluster import FakeCluster
from workshop.core.console import Step
from workshop.core.errors import DeadlineError, WorkshopError
from workshop.lab.cluster.readiness import wait_workload


def wait_proxy(cluster: FakeCluster, *changes: Callable[[], object], seconds: float = 30) -> Script:
    script = Script(*changes)
    wait_workload(cluster.kube, resource(), seconds, script, graces=cluster.graces)
    assert script.changes == [], "it was ready before all of these changes"
    return script


def put_starting(cluster: FakeCluster) -> None:
    put_proxy(cluster)
    cluster.put(pod(ready=False))


def refused(cluster: FakeCluster, *changes: dict[str, Any]) -> WorkshopError:
    """The error that ends a wait of a starting proxy, after these objects came one by one."""
    script = Script(*(lambda made=made: cluster.put(made) for made in changes))
    with pytest.raises(WorkshopError) as caught:
        wait_workload(cluster.kube, resource(), 10, script, graces=cluster.graces)
    assert script.changes == []
    assert not isinstance(caught.value, DeadlineError)
    told = [caught.value.what, *caught.value.why.splitlines(), caught.value.hint]
    assert len(told) <= 6, told
    return caught.value


def late(cluster: FakeCluster, kind: str = "MCPRemoteProxy", name: str = PROXY) -> DeadlineError:
    with pytest.raises(DeadlineError) as caught:
        wait_workload(cluster.kube, resource(kind, name), 0.05, Step("wait"), graces=cluster.graces)
    return caught.value
