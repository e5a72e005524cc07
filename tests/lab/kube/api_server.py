"""A real Kubernetes API server: the etcd and kube-apiserver of `KUBEBUILDER_ASSETS`, envtest's convention."""

import contextlib
import json
import os
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import psutil
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from workshop.core.errors import WorkshopError
from workshop.core.ports import free_port
from workshop.lab.kube.client import Kube

ADMIN, GUEST = "made-up-admin-token", "made-up-guest-token"
_START_SECONDS = 90
KUBELET = "kubelet"
_LOOK_SECONDS = 0.3
_READY = [{"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady", "PodScheduled")]


def assets() -> Path | None:
    """Where the two programs are, if they are there."""
    folder = Path(os.environ.get("KUBEBUILDER_ASSETS", "/nonexistent"))
    return folder if all((folder / name).is_file() for name in ("etcd", "kube-apiserver")) else None


class ApiServer:
    """One kube-apiserver with its etcd; `admin` and `guest` are kubeconfigs.

    `stop` kills the API server, as a machine that is lost does; `start` begins it again with what etcd has.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self._folder = folder
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        (folder / "sa.key").write_bytes(pem)
        (folder / "tokens.csv").write_text(f"{ADMIN},admin,1,system:masters\n{GUEST},guest,2\n")
        etcd, peer, port = (free_port() for _ in range(3))
        self._etcd = [
            f"{programs}/etcd",
            f"--data-dir={folder}/etcd",
            "--unsafe-no-fsync",
            f"--listen-client-urls=http://127.0.0.1:{etcd}",
            f"--advertise-client-urls=http://127.0.0.1:{etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
        ]
        self._argv = [
            f"{programs}/kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--cert-dir={folder}/certificates",
            f"--token-auth-file={folder}/tokens.csv",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={folder}/sa.key",
            f"--service-account-signing-key-file={folder}/sa.key",
            "--disable-admission-plugins=ServiceAccount",
        ]
        self.server = f"https://127.0.0.1:{port}"
        trust = {"certificate-authority": str(folder / "certificates" / "apiserver.crt")}
        distrust = {"insecure-skip-tls-verify": True}
        self.admin = _kubeconfig(folder / "admin", {"server": self.server, **trust}, ADMIN)
        self.guest = _kubeconfig(folder / "guest", {"server": self.server, **distrust}, GUEST)
        self._stack = contextlib.ExitStack()
        self._running = contextlib.ExitStack()

    def start(self) -> None:
        """Start the API server and wait until it is ready."""
        self.process = self._running.enter_context(_program(self._argv, self._folder))
        _wait_ready(self.server, self._folder)

    def stop(self) -> None:
        """Kill the API server; etcd goes on."""
        self._running.close()

    def __enter__(self) -> Self:
        self._stack.enter_context(_program(self._etcd, self._folder))
        self._stack.callback(self.stop)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


@contextlib.contextmanager
def _program(argv: Sequence[str], folder: Path, **env: str) -> Iterator[psutil.Process]:
    """A program whose output is a file in this folder; it is killed at the end."""
    with (folder / f"{Path(argv[0]).name}.log").open("ab") as log:
        process = psutil.Popen(argv, stdout=log, stderr=log, env={**os.environ, **env})
        try:
            yield process
        finally:
            process.kill()
            process.wait()


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
def running_controllers(programs: Path, admin: Path, controllers: Sequence[str]) -> Iterator[None]:
    """Some of the controllers of a cluster; `namespace-controller` lets deleted namespaces go."""
    argv = [f"{programs}/kube-controller-manager", f"--kubeconfig={admin}", "--leader-elect=false"]
    argv += [f"--controllers={','.join(controllers)}", "--secure-port=0"]
    argv += ["--kube-api-qps=400", "--kube-api-burst=800"]
    with _program(argv, admin.parent):
        yield


@contextlib.contextmanager
def running_operator(program: Path, admin: Path) -> Iterator[psutil.Process]:
    """ToolHive's operator beside the API server, with the variables that its chart sets."""
    images = {"TOOLHIVE_RUNNER_IMAGE": "lab/proxyrunner:1", "VMCP_IMAGE": "lab/vmcp:1"}
    others = {"POD_NAMESPACE": "toolhive-system", "TOOLHIVE_USE_CONFIGMAP": "true"}
    others |= {"GOMEMLIMIT": "110MiB", "GOGC": "75"}
    argv = [str(program), f"--kubeconfig={admin}", "--metrics-bind-address=0"]
    argv += ["--health-probe-bind-address=0"]
    with _program(argv, admin.parent, **images, **others, TOOLHIVE_PROXY_HOST="0.0.0.0") as process:
        yield process


@contextlib.contextmanager
def pods_that_start(kube: Kube) -> Iterator[None]:
    """Report each new pod as ready, as a kubelet does that needs no image and no time.

    The pods stay without a node, so a deleted one goes at once.
    """
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(_LOOK_SECONDS):
            with contextlib.suppress(WorkshopError):  # the API server is away, or the pod is gone
                for pod in kube.list("v1", "Pod", fields="status.phase=Pending"):
                    started = [_started(one["name"], one["image"]) for one in pod["spec"]["containers"]]
                    status = {"phase": "Running", "conditions": _READY, "containerStatuses": started}
                    set_status(kube, pod, status)

    kubelet = threading.Thread(target=report, name=KUBELET, daemon=True)
    kubelet.start()
    try:
        yield
    finally:
        ended.set()
        kubelet.join()


def _started(name: str, image: str) -> Mapping[str, Any]:
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    ids = {"imageID": image, "containerID": f"lab://{name}"}
    return {
        "name": name,
        "image": image,
        "ready": True,
        "started": True,
        "restartCount": 0,
        "state": state,
    } | ids


def add_node(kube: Kube, body: Mapping[str, Any]) -> None:
    """A node with its status; nothing runs on it."""
    kube.apply({key: value for key, value in body.items() if key != "status"})
    set_status(kube, body, body["status"])
    # A new node is tainted as not ready; the controller that takes the taint away is not here.
    kube.patch("v1", "Node", body["metadata"]["name"], None, {"spec": {"taints": []}})


def set_status(kube: Kube, body: Mapping[str, Any], status: Mapping[str, Any]) -> None:
    """Change the status of a pod or a node, as the kubelet does."""
    metadata = body["metadata"]
    space = f"namespaces/{metadata['namespace']}/" if "namespace" in metadata else ""
    path = f"/api/v1/{space}{body['kind'].lower()}s/{metadata['name']}/status"
    how = {"body": {"status": status}, "content_type": "application/merge-patch+json"}
    kube._connection.request("report a status", "patch", path, **how)
