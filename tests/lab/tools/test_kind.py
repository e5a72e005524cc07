"""kind's commands, with a kubeconfig of our own each time."""

from pathlib import Path

import pytest

from tests.lab.tools.fakes import FakeTools
from workshop.core.errors import PreflightError, WorkshopError
from workshop.lab.tools.clusters import Kind
from workshop.lab.tools.run import Runner


def test_a_version_in_range_is_given(fakes: FakeTools) -> None:
    fakes.on("kind", "version", stdout="kind v0.33.0 go1.26.8 linux/amd64\n")
    assert Kind(Runner()).examine() == (0, 33, 0)


@pytest.mark.parametrize("version", ["v0.31.0", "v1.0.0", "unknown"])
def test_a_version_out_of_range_is_refused(fakes: FakeTools, version: str) -> None:
    fakes.on("kind", "version", stdout=f"kind {version} go1.24 linux/amd64\n")
    if version == "unknown":
        fakes.on("kind", "version", stdout="kind unknown\n")
    with pytest.raises(PreflightError) as caught:
        Kind(Runner()).examine()
    assert version in caught.value.what
    assert "0.32.0" in caught.value.why


def test_clusters_and_nodes_are_lines_and_none_are_none(fakes: FakeTools) -> None:
    fakes.on("kind", "get", "clusters", stderr="No kind clusters found.\n")
    fakes.on("kind", "get", "nodes", stdout="w-control-plane\nw-worker\n")
    kind = Kind(Runner())
    assert kind.clusters() == ()
    assert kind.nodes("w") == ("w-control-plane", "w-worker")
    fakes.on("kind", "get", "clusters", stdout="kind\nw\n")
    assert kind.clusters() == ("kind", "w")


def test_every_command_that_touches_a_kubeconfig_names_ours(fakes: FakeTools, tmp_path: Path) -> None:
    fakes.on("kind")
    kind, config = Kind(Runner()), tmp_path / "kubeconfig"
    kind.create("w", tmp_path / "kind.yaml", config, "node:1", 60, env={"HTTPS_PROXY": "http://p"})
    kind.create("w", tmp_path / "kind.yaml", config, "node:1", 60)
    kind.export_kubeconfig("w", config)
    kind.delete("w", config)
    create = ["kind", "create", "cluster", "--name", "w", "--config", str(tmp_path / "kind.yaml")]
    create += ["--image", "node:1", "--kubeconfig", str(config)]
    assert fakes.argvs() == [
        create,
        create,
        ["kind", "export", "kubeconfig", "--name", "w", "--kubeconfig", str(config)],
        ["kind", "delete", "cluster", "--name", "w", "--kubeconfig", str(config)],
    ]
    assert fakes.calls()[0].env["HTTPS_PROXY"] == "http://p"


def test_an_archive_is_loaded_into_the_named_cluster(fakes: FakeTools, tmp_path: Path) -> None:
    fakes.on("kind")
    Kind(Runner()).load_archive("w", tmp_path / "x.tar")
    assert fakes.argvs() == [["kind", "load", "image-archive", str(tmp_path / "x.tar"), "--name", "w"]]
    fakes.on("kind", "load", stderr="ERROR: failed to load images", code=1)
    with pytest.raises(WorkshopError) as caught:
        Kind(Runner()).load_archive("w", tmp_path / "x.tar")
    assert str(tmp_path) not in caught.value.hint, "the archive is removed by then"


def test_kind_uses_docker_even_where_another_provider_is_set(
    fakes: FakeTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes.on("kind")
    kind = Kind(Runner())
    kind.clusters()
    monkeypatch.setenv("KIND_EXPERIMENTAL_PROVIDER", "podman")
    kind.clusters()
    first, second = fakes.calls()
    assert "KIND_EXPERIMENTAL_PROVIDER" not in first.env
    assert second.env["KIND_EXPERIMENTAL_PROVIDER"] == "docker"


def test_a_cluster_that_cannot_be_made_tells_kinds_own_reason(fakes: FakeTools, tmp_path: Path) -> None:
    said = (  # as kind 0.33 prints it
        'Creating cluster "t1" ...\n'
        " • Ensuring node image (nope.invalid/node:v1) 🖼️  ...\n"
        " ✗ Ensuring node image (nope.invalid/node:v1) 🖼️\n"
        'ERROR: failed to create cluster: failed to pull image "nope.invalid/node:v1": '
        'command "docker pull nope.invalid/node:v1" failed with error: exit status 1\n'
        "\n"
        'Command Output: Error response from daemon: Get "https://nope.invalid/v2/": '
        "dial tcp: lookup nope.invalid on 10.0.0.53:53: no such host\n"
    )
    fakes.on("kind", "create", stderr=said, code=1)
    with pytest.raises(WorkshopError) as caught:
        Kind(Runner()).create("t1", tmp_path / "k", tmp_path / "c", "nope.invalid/node:v1", 60)
    assert caught.value.what == "`kind create cluster` failed (exit code 1)"
    assert "ERROR: failed to create cluster: failed to pull image" in caught.value.why
    assert "does not reach" in caught.value.hint
