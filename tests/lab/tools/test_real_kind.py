"""A real kind on a real engine, as far as it goes without a node image: a cluster needs one to pull."""

from pathlib import Path
from uuid import uuid4

import pytest

from tests.lab.tools.real import real_program
from workshop.core.errors import WorkshopError
from workshop.lab.tools.clusters import Kind
from workshop.lab.tools.run import Runner

CONFIG = "kind: FakeCluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes: [{role: control-plane}]\n"


@pytest.fixture
def kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kind:
    program = Path(real_program("kind"))
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "theirs"))
    return Kind(Runner())


@pytest.fixture
def name(real_engine: str) -> str:
    return f"workshop-test-{uuid4().hex[:8]}"


def test_a_real_kind_is_in_range(kind: Kind) -> None:
    assert kind.examine() >= (0, 27, 0)


def test_a_cluster_that_is_not_there_has_no_nodes_and_deleting_it_is_no_error(
    kind: Kind, name: str, tmp_path: Path
) -> None:
    assert name not in kind.clusters()
    assert kind.nodes(name) == ()
    kind.delete(name, tmp_path / "ours")
    assert not (tmp_path / "theirs").exists()


def test_a_node_image_that_cannot_be_pulled_leaves_no_cluster(kind: Kind, name: str, tmp_path: Path) -> None:
    (tmp_path / "kind.yaml").write_text(CONFIG)
    image = "registry.invalid/kindest/node:v1.35.8"
    with pytest.raises(WorkshopError) as caught:
        kind.create(name, tmp_path / "kind.yaml", tmp_path / "ours", image, 120)
    assert "failed to pull image" in caught.value.why
    assert "does not reach" in caught.value.hint
    assert name not in kind.clusters()
    assert not (tmp_path / "theirs").exists()


def test_an_archive_cannot_be_loaded_into_a_cluster_that_is_not_there(
    kind: Kind, name: str, tmp_path: Path
) -> None:
    (tmp_path / "x.tar").write_bytes(b"")
    with pytest.raises(WorkshopError, match="kind load image-archive"):
        kind.load_archive(name, tmp_path / "x.tar")
