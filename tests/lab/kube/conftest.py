"""A Kubernetes API in memory for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.kube.fake_cluster import FakeCluster, running_cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with running_cluster(tmp_path) as running:
        yield running
