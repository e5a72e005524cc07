"""The kind cluster itself: find its state and its owner; create, start and delete it."""

import json
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from workshop.core.console import Progress
from workshop.core.console import Step as Line
from workshop.core.errors import DeadlineError, PreflightError, WorkshopError
from workshop.core.paths import cluster_dir, write_private
from workshop.lab.cluster.dns import answers_on_node
from workshop.lab.cluster.operator import Operator
from workshop.lab.cluster.record import INSTANCE_LABEL, Cluster
from workshop.lab.cluster.removal import Removal
from workshop.lab.cluster.workload_state import is_ready
from workshop.lab.kube.client import bound
from workshop.lab.kube.objects import Object, container_statuses_of, is_being_deleted, items, text
from workshop.lab.pins import Pins
from workshop.lab.steps import Step
from workshop.lab.tools.clusters import control_plane
from workshop.lab.tools.docker import ContainerState, Docker
from workshop.lab.tools.run import copyable

_CREATE_SECONDS = 900.0
_ORDERLY_SECONDS = 10.0  # for the contents; what resists is deleted with the cluster
# Docker's times have fractions of a second, those of Kubernetes do not.
_TO_THE_SECOND = len("2026-11-29T02:00:00")
# kindnetd, kind's program for the pod network, looks for its node before the API has sent any, and
# again 10 s later (`images/kindnetd/cmd/kindnetd/main.go`). The node is not ready until this file is there.
_CNI_FILE = "/etc/cni/net.d/10-kindnet.conflist"
_WRITE = 'printf %s "$1" >"$2.new" && mv "$2.new" "$2"'  # renamed, because containerd reads it at once
_MTU_FILE = "/sys/class/net/eth0/mtu"
_NODE_CONFIG = "/kind/kubeadm.conf"
_LABEL = re.compile(rf"{re.escape(INSTANCE_LABEL)}=([A-Za-z0-9._-]+)")
_HOSTS_FOLDER = "/etc/containerd/certs.d"
_CERTIFICATE = "/usr/local/share/ca-certificates/workshop.crt"
_TRUSTED = "/etc/ssl/certs/workshop.pem"  # what update-ca-certificates makes of it
_TRUST_SECONDS = 60
# Node images of kind 0.27 and later look there by themselves; this is for older ones, as kind documents it.
_PATCH = f'[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "{_HOSTS_FOLDER}"\n'


class KindCluster:
    """One kind cluster, changed only if its node carries our instance label."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._name = cluster.record.name

    def look(self, line: Line) -> None:
        """Check the tools and the engine; raises PreflightError for one that does not work here."""
        tools = self._cluster.tools
        engine = tools.docker.examine()
        engine.refuse_remote()
        tools.kind.examine()
        tools.helm.examine()
        tools.kubectl.examine()
        if self._name in tools.kind.clusters() and not self._cluster.made("cluster"):
            raise _foreign_cluster(self._name, "this instance did not create it")
        line.note("; ".join([f"{engine.name} {engine.version}", *engine.warnings]))

    def step(self, needs: tuple[str, ...]) -> Step:
        """The step that creates the cluster, or starts the existing one."""
        limits = self._cluster.limits
        verb, seconds = ("Start", limits.restart) if self._is_made() else ("Create", _CREATE_SECONDS)
        return Step(
            "cluster",
            f"{verb} the kind cluster {self._name}, {bound(seconds)}",
            self._make,
            needs=needs,
            done=self._answers,
            undo=self._delete,
            plan=self._plan,
        )

    def network_steps(self) -> list[Step]:
        """The step that sets up the pod network of a new node early; none for an existing cluster."""
        if self._is_made():
            return []
        label, plan = "Set up the pod network", f"write {_CNI_FILE} in {self._node}, before kindnetd does"
        return [Step("pod-network", label, self._set_up_network, needs=("cluster",), plan=lambda: [plan])]

    def remove(self, progress: Progress) -> list[str]:
        """Try for a moment to remove this instance's objects in order, then delete its cluster."""
        cluster = self._cluster
        if not cluster.made("cluster"):
            return []
        if self._name not in cluster.tools.kind.clusters():
            progress.say(f"The kind cluster `{self._name}` is already gone")
            return []
        owner = self._owner()
        if owner != cluster.record.id:
            why = f"its node belongs to instance `{owner}`" if owner else "its node does not name its owner"
            progress.tell(_foreign_cluster(self._name, why).in_full)
            return []
        removed: list[str] = []
        if self._reached():
            release = Operator(cluster).release
            removal = Removal(cluster, seconds=_ORDERLY_SECONDS, release=release)
            removed = removal.run(progress, must=False)
        with progress.step(f"Delete the kind cluster {self._name}"):
            self._delete()
        return [*removed, f"cluster {self._name}"]

    def _answers(self) -> bool:
        cluster = self._cluster
        if not cluster.made("cluster") or self._name not in cluster.tools.kind.clusters():
            return False
        if not cluster.at.kubeconfig.exists():
            cluster.tools.kind.export_kubeconfig(self._name, cluster.at.kubeconfig)
        return self._is_awake() and self._reached() and self._trusts()

    def wait_awake(self, progress: Progress) -> None:
        """Wait for a cluster whose node was started a moment ago; a stopped one is not started."""
        node = self.node()
        if node and node.running and not self._is_awake():
            limit = bound(self._cluster.limits.restart)
            with progress.step(f"Wait for the kind cluster {self._name}, {limit}") as line:
                self._await(line)

    def node(self) -> ContainerState | None:
        """The state of the node's container; None if it is absent or Docker does not answer."""
        try:
            return self._cluster.tools.docker.container(self._node)
        except WorkshopError:
            return None

    def asleep(self) -> str:
        """What the running node still lacks since its start; empty for nothing."""
        return "" if self._is_awake() else self._lacks(self._boot())

    def _make(self, line: Line) -> None:
        cluster, kind = self._cluster, self._cluster.tools.kind
        if self._name in kind.clusters():
            if self._is_made():
                self._wake(line)
                return
            if self._owner() not in {cluster.record.id, None}:
                raise _foreign_cluster(self._name, "its node carries another label")
            kind.delete(self._name, cluster.at.kubeconfig)  # incomplete, from an `up` that was killed
        cluster.file.creating("cluster")
        config = write_kind_config(cluster.pins, cluster.home / "cluster", cluster.record.id)
        kind.create(
            self._name,
            config,
            cluster.at.kubeconfig,
            cluster.pins.node_image,
            _CREATE_SECONDS,
            env=cluster.pins.proxy_environment(),
        )
        self._trust()  # restarts containerd, so before any other step uses it
        cluster.file.installed("cluster", cluster.pins.node_image)
        cluster.file.installed("awake", self._boot())  # the next steps wait for what they need

    def _set_up_network(self, line: Line) -> None:
        """Write kindnetd's file as soon as kube-proxy runs, unless the node is ready before.

        Not earlier: ToolHive's operator ends if it starts without a route to the API, and then waits out its
        back-off. A failure is only noted, because kindnetd writes the file in any case.
        """
        limits, docker = self._cluster.limits, self._cluster.tools.docker
        deadline = time.monotonic() + limits.restart
        try:
            mtu = int(docker.exec(self._node, ["cat", _MTU_FILE]).stdout)
            while time.monotonic() < deadline and not self._has_network():
                if subnet := self._pod_subnet():
                    configuration = json.dumps(_cni_configuration(subnet, mtu))
                    docker.exec(self._node, ["sh", "-c", _WRITE, "sh", configuration, _CNI_FILE])
                    line.note(f"{subnet}, MTU {mtu}")
                    return
                line.note("waiting for kube-proxy")
                time.sleep(limits.look)
        except (WorkshopError, ValueError) as error:
            line.note(f"left to kindnetd: {error}")

    def _has_network(self) -> bool:
        return any(_is_ready_since(node, "") for node in self._cluster.kube.list("v1", "Node"))

    def _pod_subnet(self) -> str:
        """The IPv4 addresses of the node's pods in CIDR notation; empty until kube-proxy runs."""
        kube = self._cluster.kube
        proxies = kube.list("v1", "Pod", "kube-system", {"k8s-app": "kube-proxy"})
        if not proxies or not all(map(is_ready, proxies)):
            return ""
        subnets = (text(node, "spec", "podCIDR") for node in kube.list("v1", "Node"))
        return next((subnet for subnet in subnets if "." in subnet), "")

    def _plan(self) -> list[str]:
        cluster = self._cluster
        config = write_kind_config(cluster.pins, cluster.home / "cluster", cluster.record.id)
        argv = cluster.tools.kind.create_argv(
            self._name, config, cluster.at.kubeconfig, cluster.pins.node_image
        )
        return [f"write {config}", copyable(argv, cluster.pins.proxy_environment(), cluster.pins.secrets())]

    def _wake(self, line: Line) -> None:
        """Start the node of an existing cluster, and wait until workloads can run on it."""
        for node in self._nodes():
            line.note(f"starting {node}")
            self._cluster.tools.docker.start(node, self._cluster.limits.restart)
        self._await(line)
        self._trust()

    def _await(self, line: Line) -> None:
        boot, limits = self._boot(), self._cluster.limits
        deadline = time.monotonic() + limits.restart
        while lacking := self._lacks(boot):
            if time.monotonic() > deadline:
                raise DeadlineError(
                    f"The kind cluster `{self._name}` was not ready within {limits.restart:.0f} s",
                    why=f"Its node runs, but it still waits for {lacking}",
                    hint=f"See `docker logs {self._node}`; `workshop teardown`, then `up`, creates another",
                )
            line.note(f"waiting for {lacking}")
            time.sleep(limits.look)
        self._cluster.file.installed("awake", boot)
        line.note("API, node, pods and cluster DNS answer")

    def _lacks(self, boot: str) -> str:
        """What the node still lacks to run workloads, since its start at `boot`; empty for nothing.

        After a restart the API returns the state from before, until the kubelet has reported again.
        """
        try:
            kube = self._cluster.connect()  # a new client each time: the file changes with the cluster
            nodes, pods = kube.list("v1", "Node"), kube.list("v1", "Pod")
            if not nodes or not all(_is_ready_since(node, boot) for node in nodes):
                return "its node to be ready"
            if before := sum(_ran_before(pod, boot) for pod in pods):
                return f"{before} pods to start again"
            answers = answers_on_node(self._cluster.tools.docker, kube, self._node)
        except WorkshopError:
            return "its API server"
        return "" if answers else "cluster DNS"

    def _is_made(self) -> bool:
        return self._cluster.installed("cluster") is not None

    def _is_awake(self) -> bool:
        """Whether the node was complete at some time since its last start."""
        awake = self._cluster.installed("awake")
        return awake is not None and awake == self._boot()

    def _boot(self) -> str:
        state = self.node()
        return state.started_at if state else ""

    @property
    def _node(self) -> str:
        return control_plane(self._name)

    def _reached(self) -> bool:
        try:
            self._cluster.connect().version()
        except WorkshopError:  # unreachable, starting, or with the kubeconfig of an earlier cluster
            return False
        return True

    def _trusts(self) -> bool:
        if self._cluster.pins.ca_file is None:
            return True
        return all(trusts_certificate(self._cluster.tools.docker, node) for node in self._nodes())

    def _trust(self) -> None:
        if self._cluster.pins.ca_file is not None:
            for node in self._nodes():
                trust_certificate(self._cluster.tools.docker, node)

    def _nodes(self) -> Sequence[str]:
        return self._cluster.tools.kind.nodes(self._name)

    def _owner(self) -> str | None:
        """The instance in the node's label, read from its files, which also works while it is stopped."""
        for node in self._nodes():
            with tempfile.TemporaryDirectory() as folder:
                target = Path(folder) / "kubeadm.conf"
                try:
                    self._cluster.tools.docker.copy_from(node, _NODE_CONFIG, target)
                    found = _LABEL.search(target.read_text(encoding="utf-8"))
                except (WorkshopError, OSError):
                    found = None
            if found:
                return found[1]
        return None

    def _delete(self) -> None:
        self._cluster.tools.kind.delete(self._name, self._cluster.at.kubeconfig)
        self._cluster.at.kubeconfig.unlink(missing_ok=True)
        for thing in self._cluster.file.made():
            self._cluster.file.removed(thing)


def _cni_configuration(subnet: str, mtu: int) -> Object:
    """The pod network as kindnetd sets it up (kind's `images/kindnetd/cmd/kindnetd/cni.go`)."""
    addresses = {
        "type": "host-local",
        "dataDir": "/run/cni-ipam-state",
        "routes": [{"dst": "0.0.0.0/0"}],
        "ranges": [[{"subnet": subnet}]],
    }
    pairs = {"type": "ptp", "ipMasq": False, "ipam": addresses, "mtu": mtu}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.3.1", "name": "kindnet", "plugins": [pairs, ports]}


def _is_ready_since(node: Object, boot: str) -> bool:
    """Whether the kubelet has reported its node as ready since the boot."""
    return any(
        (text(item, "type"), text(item, "status")) == ("Ready", "True")
        and _since(text(item, "lastHeartbeatTime"), boot)
        for item in items(node, "status", "conditions")
    )


def _ran_before(pod: Object, boot: str) -> bool:
    """Whether the API still shows a container as running since before the boot."""
    started = [text(item, "state", "running", "startedAt") for item in container_statuses_of(pod)]
    return not is_being_deleted(pod) and any(each and not _since(each, boot) for each in started)


def _since(moment: str, boot: str) -> bool:
    return moment[:_TO_THE_SECOND] >= boot[:_TO_THE_SECOND]


def _foreign_cluster(name: str, why: str) -> PreflightError:
    return PreflightError(
        f"The kind cluster `{name}` is left alone",
        why=why[:1].upper() + why[1:],
        hint=f"`workshop up --cluster-name OTHER`, or if nobody needs it `kind delete cluster --name {name}`",
    )


def write_kind_config(pins: Pins, folder: Path, instance: str) -> Path:
    """Write kind's configuration, and the files its node mounts, into `folder`; the configuration's path."""
    import yaml

    config: dict[str, Any] = yaml.safe_load((cluster_dir() / "kind.yaml").read_text(encoding="utf-8"))
    (node,) = config["nodes"]
    node["labels"][INSTANCE_LABEL] = instance
    mounts = []
    if pins.registry_mirror:
        write_private(folder / "certs.d" / "_default" / "hosts.toml", _hosts(pins.registry_mirror).encode())
        mounts.append(_mount(folder / "certs.d", _HOSTS_FOLDER))
        config["containerdConfigPatches"] = [_PATCH]
    if pins.ca_file:
        write_private(folder / "ca.crt", pins.ca_file.read_bytes())
        mounts.append(_mount(folder / "ca.crt", _CERTIFICATE))
    if mounts:
        node["extraMounts"] = mounts
    path = folder / "kind.yaml"
    write_private(path, yaml.safe_dump(config, sort_keys=False).encode())
    return path


def trusts_certificate(docker: Docker, node: str) -> bool:
    """Whether the node has taken over the certificate that its configuration mounts."""
    return docker.exec(node, ["test", "-e", _TRUSTED], seconds=_TRUST_SECONDS, check=False).code == 0


def trust_certificate(docker: Docker, node: str) -> None:
    """Let the node's containerd trust the mounted certificate; it reads its authorities when it starts."""
    docker.exec(node, ["update-ca-certificates"], seconds=_TRUST_SECONDS)
    docker.exec(node, ["systemctl", "restart", "containerd"], seconds=_TRUST_SECONDS)


def _hosts(mirror: str) -> str:
    lines = [f'[host."{mirror}"]', '  capabilities = ["pull", "resolve"]']
    if "/v2" in urlsplit(mirror).path:  # a mirror below a path of its own, as Harbor and Artifactory have it
        lines.append("  override_path = true")
    return "\n".join([*lines, ""])


def _mount(host: Path, node: str) -> dict[str, Any]:
    return {"hostPath": str(host), "containerPath": node, "readOnly": True}
