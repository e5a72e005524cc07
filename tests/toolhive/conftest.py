"""Part 4's own manifests, a way to change one line of them, and a Kubernetes API in memory."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.kube.conftest import cluster
from workshop.core.paths import parts_dir
from workshop.lab.cluster import readiness, workload_state
from workshop.lab.kube import connection, wait
from workshop.toolhive.manifests import Resources, load

__all__ = ["change", "cluster"]

Change = Callable[..., Resources]


@pytest.fixture
def change(tmp_path: Path) -> Change:
    """Load a part's manifests with one text replaced by another; the text must be there."""

    def changed(old: str = "", new: str = "", part: str = "04_remote_oauth") -> Resources:
        found = not old
        for path in (parts_dir() / part / "toolhive").glob("*.yaml"):
            text = path.read_text(encoding="utf-8")
            found = found or old in text
            (tmp_path / path.name).write_text(text.replace(old, new) if old else text, encoding="utf-8")
        assert found, f"{old!r} is not in the manifests of {part}"
        return load(tmp_path)

    return changed


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
