"""The files that create a cluster: kind configuration, registry mirror, authority, Helm values."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from workshop.core.paths import cluster_dir, write_private
from workshop.lab.cluster.record import INSTANCE_LABEL
from workshop.lab.sources import Sources
from workshop.lab.tools.docker import Docker

_HOSTS_FOLDER = "/etc/containerd/certs.d"
_CERTIFICATE = "/usr/local/share/ca-certificates/workshop.crt"
_TRUSTED = "/etc/ssl/certs/workshop.pem"  # what update-ca-certificates makes of it
_SECONDS = 60
# Node images of kind 0.27 and later look there by themselves; this is for older ones, as kind documents it.
_PATCH = f'[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "{_HOSTS_FOLDER}"\n'


def write_kind_config(sources: Sources, folder: Path, instance: str) -> Path:
    """Write kind's configuration, and the files its node mounts, into `folder`; the configuration's path."""
    config = _read("kind.yaml")
    (node,) = config["nodes"]
    node["labels"][INSTANCE_LABEL] = instance
    mounts = []
    if sources.registry_mirror:
        write_private(
            folder / "certs.d" / "_default" / "hosts.toml", _hosts(sources.registry_mirror).encode()
        )
        mounts.append(_mount(folder / "certs.d", _HOSTS_FOLDER))
        config["containerdConfigPatches"] = [_PATCH]
    if sources.ca_file:
        write_private(folder / "ca.crt", sources.ca_file.read_bytes())
        mounts.append(_mount(folder / "ca.crt", _CERTIFICATE))
    if mounts:
        node["extraMounts"] = mounts
    return _write(folder / "kind.yaml", config)


def write_operator_values(sources: Sources, folder: Path) -> list[Path]:
    """The values files of the operator's chart, in the order Helm takes them: ours, then these images."""
    images = {"image": sources.operator, "toolhiveRunnerImage": sources.proxy_runner}
    return [
        cluster_dir() / "operator-values.yaml",
        _write(folder / "operator-images.yaml", {"operator": images}),
    ]


def trusts_certificate(docker: Docker, node: str) -> bool:
    """Whether the node has taken over the certificate that its configuration mounts."""
    return docker.exec(node, ["test", "-e", _TRUSTED], seconds=_SECONDS, check=False).code == 0


def trust_certificate(docker: Docker, node: str) -> None:
    """Let the node's containerd trust the mounted certificate; it reads its authorities when it starts."""
    docker.exec(node, ["update-ca-certificates"], seconds=_SECONDS)
    docker.exec(node, ["systemctl", "restart", "containerd"], seconds=_SECONDS)


def _hosts(mirror: str) -> str:
    lines = [f'[host."{mirror}"]', '  capabilities = ["pull", "resolve"]']
    if "/v2" in urlsplit(mirror).path:  # a mirror below a path of its own, as Harbor and Artifactory have it
        lines.append("  override_path = true")
    return "\n".join([*lines, ""])


def _mount(host: Path, node: str) -> dict[str, Any]:
    return {"hostPath": str(host), "containerPath": node, "readOnly": True}


def _read(name: str) -> dict[str, Any]:
    import yaml

    body: dict[str, Any] = yaml.safe_load((cluster_dir() / name).read_text(encoding="utf-8"))
    return body


def _write(path: Path, body: dict[str, Any]) -> Path:
    import yaml

    write_private(path, yaml.safe_dump(body, sort_keys=False).encode())
    return path
