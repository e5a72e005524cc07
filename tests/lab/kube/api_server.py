"""A real Kubernetes API server: the etcd and kube-apiserver of `KUBEBUILDER_ASSETS`, envtest's convention."""

import contextlib
import json
import os
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from workshop.core.ports import free_port

ADMIN, GUEST = "made-up-admin-token", "made-up-guest-token"
_START_SECONDS = 90


def assets() -> Path | None:
    """Where the two programs are, if they are there."""
    folder = Path(os.environ.get("KUBEBUILDER_ASSETS", "/nonexistent"))
    return folder if all((folder / name).is_file() for name in ("etcd", "kube-apiserver")) else None


@contextlib.contextmanager
def running_api_server(programs: Path, folder: Path) -> Iterator[dict[str, Path]]:
    """Serve an empty API; kubeconfigs for `admin`, who may do all, and for `guest`, who may do nothing."""
    etcd, peer, port = (free_port() for _ in range(3))
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (folder / "sa.key").write_bytes(pem)
    (folder / "tokens.csv").write_text(f"{ADMIN},admin,1,system:masters\n{GUEST},guest,2\n")
    commands = [
        [
            f"{programs}/etcd",
            f"--data-dir={folder}/etcd",
            "--unsafe-no-fsync",
            f"--listen-client-urls=http://127.0.0.1:{etcd}",
            f"--advertise-client-urls=http://127.0.0.1:{etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
        ],
        [
            f"{programs}/kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--cert-dir={folder}/certificates",
            f"--token-auth-file={folder}/tokens.csv",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={folder}/sa.key",
            f"--service-account-signing-key-file={folder}/sa.key",
            "--disable-admission-plugins=ServiceAccount",
        ],
    ]
    with contextlib.ExitStack() as stack:
        for command in commands:
            log = stack.enter_context((folder / f"{Path(command[0]).name}.log").open("wb"))
            process = subprocess.Popen(command, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.kill)
        server = f"https://127.0.0.1:{port}"
        _wait_ready(server, folder)
        trust = {"certificate-authority": str(folder / "certificates" / "apiserver.crt")}
        distrust = {"insecure-skip-tls-verify": True}
        yield {
            "admin": _kubeconfig(folder / "admin", {"server": server, **trust}, ADMIN),
            "guest": _kubeconfig(folder / "guest", {"server": server, **distrust}, GUEST),
        }


def _wait_ready(server: str, folder: Path) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(f"{server}/readyz", headers={"Authorization": f"Bearer {ADMIN}"})
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(request, context=context, timeout=60):
            return
        time.sleep(0.1)
    raise TimeoutError((folder / "kube-apiserver.log").read_text()[-2000:])


def _kubeconfig(path: Path, cluster: dict[str, object], token: str) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    path.write_text(json.dumps(config))
    return path


@contextlib.contextmanager
def running_namespace_controller(programs: Path, admin: Path) -> Iterator[None]:
    """Let deleted namespaces go, with what is in them, as the controller manager of a cluster does."""
    argv = [f"{programs}/kube-controller-manager", f"--kubeconfig={admin}", "--leader-elect=false"]
    argv += ["--controllers=namespace-controller", "--secure-port=0"]
    argv += ["--kube-api-qps=400", "--kube-api-burst=800"]
    with (admin.parent / "controllers.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.kill()
            process.wait()
