"""Manifests to change, and waits that take no time."""

from dataclasses import replace

import pytest

from tests.lab.kube.fake_cluster import FakeCluster
from tests.toolhive.conftest import change
from workshop.lab.cluster.workload_state import Graces

__all__ = ["change"]  # a fixture


@pytest.fixture
def quick(cluster: FakeCluster) -> None:
    """Looks follow each other at once, and what may heal is given no time."""
    cluster.look_seconds, cluster.retry_seconds = 0.001, 0
    cluster.graces = Graces(fatal=0, retry=0, registry=0, terminating=0, quota=0, config=0)


@pytest.fixture
def patient(cluster: FakeCluster, quick: None) -> None:
    """What may heal is given all the time there is."""
    day = 86_400
    cluster.graces = replace(cluster.graces, retry=day, registry=day, terminating=day, config=day)
