"""A Kubernetes API in memory, manifests to change, and waits that take no time."""

import pytest

from tests.lab.kube.conftest import cluster
from tests.toolhive.conftest import change
from workshop.lab.cluster import readiness, workload_state
from workshop.lab.kube import connection, wait

__all__ = ["change", "cluster"]  # fixtures


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other at once, and what may heal is given no time."""
    monkeypatch.setattr(wait, "_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(connection, "_PAUSE_SECONDS", 0)
    for module, names in (
        (workload_state, ("_FAILED_GRACE_SECONDS", "_AT_ONCE_SECONDS", "_BLOCKED_SECONDS")),
        (workload_state, ("_FATAL_GRACE", "_RETRY_GRACE", "_REGISTRY_GRACE", "_TERMINATING_GRACE")),
        (readiness, ("_HOPELESS_SECONDS",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, 0)


@pytest.fixture
def patient(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What may heal is given all the time there is."""
    monkeypatch.setattr(workload_state, "_FAILED_GRACE_SECONDS", 3600)
    for name in ("_RETRY_GRACE", "_REGISTRY_GRACE", "_TERMINATING_GRACE"):
        monkeypatch.setattr(workload_state, name, 3600)
