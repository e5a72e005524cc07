"""The files a cluster is made with: as kind and Helm read them, and what a closed network adds."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.lab.tools.fakes import FakeTools
from workshop.core.paths import cluster_dir
from workshop.lab.cluster.kind_cluster import (
    trust_certificate,
    trusts_certificate,
    write_kind_config,
)
from workshop.lab.cluster.operator import write_operator_values
from workshop.lab.cluster.record import INSTANCE_LABEL
from workshop.lab.pins import pinned
from workshop.lab.tools.docker import Docker
from workshop.lab.tools.run import Runner

PINS = pinned()


def test_the_cluster_has_one_node_that_names_its_instance_and_nothing_else(tmp_path: Path) -> None:
    config = yaml.safe_load(write_kind_config(PINS, tmp_path, "a1b2c3").read_text())
    assert config == {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": [{"role": "control-plane", "labels": {INSTANCE_LABEL: "a1b2c3"}}],
    }
    domain = INSTANCE_LABEL.partition("/")[0]
    assert not domain.endswith(("kubernetes.io", "k8s.io"))  # a kubelet may not set those on its node


def test_a_mirror_is_what_the_nodes_containerd_asks_first(tmp_path: Path) -> None:
    mirror = "http://10.0.0.5:5000"
    config = yaml.safe_load(
        write_kind_config(replace(PINS, registry_mirror=mirror), tmp_path, "a").read_text()
    )
    (mount,) = config["nodes"][0]["extraMounts"]
    assert mount == {
        "hostPath": str(tmp_path / "certs.d"),
        "containerPath": "/etc/containerd/certs.d",
        "readOnly": True,
    }
    (patch,) = config["containerdConfigPatches"]
    (plugin,) = tomllib.loads(patch)["plugins"].values()
    assert plugin["registry"]["config_path"] == mount["containerPath"]
    hosts = tomllib.loads((tmp_path / "certs.d" / "_default" / "hosts.toml").read_text())
    assert hosts == {"host": {mirror: {"capabilities": ["pull", "resolve"]}}}


def test_a_mirror_below_a_path_of_its_own_is_asked_there(tmp_path: Path) -> None:
    mirror = "https://harbor.example/v2/cache"
    write_kind_config(replace(PINS, registry_mirror=mirror), tmp_path, "a")
    hosts = tomllib.loads((tmp_path / "certs.d" / "_default" / "hosts.toml").read_text())
    assert hosts["host"][mirror]["override_path"] is True


def test_an_authority_is_copied_for_the_node_and_taken_over_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = tmp_path / "authority.pem"
    authority.write_text("a certificate")
    pins = replace(PINS, ca_file=authority)
    config = yaml.safe_load(write_kind_config(pins, tmp_path / "made", "a").read_text())
    (mount,) = config["nodes"][0]["extraMounts"]
    assert Path(mount["hostPath"]).read_text() == "a certificate"
    assert mount["containerPath"].startswith("/usr/local/share/ca-certificates/")
    assert mount["containerPath"].endswith(".crt")  # update-ca-certificates looks at no others

    fakes = FakeTools(tmp_path / "fakes", monkeypatch)
    fakes.on("docker", "exec", "node", "test", code=1)
    fakes.on("docker", "exec", "node", "update-ca-certificates")
    fakes.on("docker", "exec", "node", "systemctl", "restart", "containerd")
    docker = Docker(Runner())
    assert not trusts_certificate(docker, "node")
    trust_certificate(docker, "node")
    words = [call[3:] for call in fakes.argvs("docker", "exec")]
    assert words[1:] == [["update-ca-certificates"], ["systemctl", "restart", "containerd"]]


def test_the_operators_values_are_ours_and_then_the_images(tmp_path: Path) -> None:
    pins = replace(
        PINS,
        operator="lab.example/operator:v1",
        proxy_runner="lab.example/proxyrunner:v1",
        vmcp="lab.example/vmcp:v1",
    )
    ours, images = write_operator_values(pins, tmp_path)
    assert ours == cluster_dir() / "operator-values.yaml"
    operator = yaml.safe_load(ours.read_text())["operator"]
    assert {"name": "TOOLHIVE_SKIP_UPDATE_CHECK", "value": "true"} in operator["env"]
    assert operator["imagePullPolicy"] == "IfNotPresent"
    assert yaml.safe_load(images.read_text()) == {
        "operator": {
            "image": "lab.example/operator:v1",
            "toolhiveRunnerImage": "lab.example/proxyrunner:v1",
            "vmcpImage": "lab.example/vmcp:v1",
        }
    }
