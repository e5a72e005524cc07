"""A Kubernetes API in memory for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.kube.cluster import Cluster, running_cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path) as running:
        yield running
