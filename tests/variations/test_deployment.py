"""The image and the manifest of all variations: no root user, no file system that the server can write."""

import re
from typing import Any

import pytest
import yaml

from workshop.core.paths import checkout_dir, parts_dir
from workshop.lab.pins import pinned

FOLDER = parts_dir() / "04_remote_oauth" / "variations"
DOCKERFILE = (FOLDER / "Dockerfile").read_text("utf-8")
NAMES = ["worker", "elicitation", "resource-server", "prefix-gateway"]


def manifest(name: str) -> dict[str, dict[str, Any]]:
    text = (FOLDER / "kubernetes.yaml").read_text("utf-8").replace("NAME", name)
    return {found["kind"]: found for found in yaml.safe_load_all(text)}


def test_the_image_has_the_pinned_python_and_the_whole_package() -> None:
    assert re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE) == [pinned().python]
    root = checkout_dir()
    assert root is not None
    allowed = (FOLDER / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    copied = re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE)
    for name in " ".join(copied).split():
        assert (root / name).exists(), name
        assert f"!{name}" in allowed, name
    assert {"*", "**/.env"} <= set(allowed), "no secret of the checkout gets into the image"


def test_the_image_runs_as_a_user_that_is_a_number_and_starts_with_workshop_serve() -> None:
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE) == ["1000:1000"]
    (entry,) = re.findall(r"^ENTRYPOINT (.+)$", DOCKERFILE, re.MULTILINE)
    assert entry == '["workshop", "serve", "--config", "/etc/workshop/config.toml"]'


@pytest.mark.parametrize("name", NAMES)
def test_the_pod_has_no_root_no_capability_and_no_file_system_to_write(name: str) -> None:
    found = manifest(name)
    pod = found["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 1000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["args"] == [name]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"/var/lib/workshop", "/tmp"}
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_the_service_leads_to_the_server_and_not_to_its_metrics() -> None:
    found = manifest("worker")
    template = found["Deployment"]["spec"]["template"]
    ports = {each["name"]: each["containerPort"] for each in template["spec"]["containers"][0]["ports"]}
    assert [port["targetPort"] for port in found["Service"]["spec"]["ports"]] == ["http"]
    assert template["metadata"]["annotations"]["prometheus.io/port"] == str(ports["metrics"])
    assert found["Service"]["spec"]["selector"] == template["metadata"]["labels"] == {"app": "worker"}
