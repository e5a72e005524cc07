"""Check from the cluster's node and from one of our pods that names resolve and accept connections."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workshop.core.console import Step as Line
from workshop.core.errors import DeadlineError, WorkshopError
from workshop.lab.cluster.record import Cluster
from workshop.lab.cluster.workload_state import is_ready
from workshop.lab.kube.client import Kube, bound
from workshop.lab.kube.connection import ForbiddenError
from workshop.lab.kube.objects import Object, items, name_of, text
from workshop.lab.tools.docker import Docker
from workshop.lab.tools.run import Done, copyable

_EXEC_SECONDS = 20.0
_SYSTEM, _DNS = "kube-system", "kube-dns"
_ALWAYS = "kubernetes.default"
# All names in parallel, with one try of 2 s for each server: glibc's default is 10 s for every search domain.
# Each name four times, because any of CoreDNS's pods may answer. For a name with a port, also connect:
# kube-proxy gets to know a pod a moment after the API shows it as ready, and refuses connections until then.
LOOK_UP = """
import os, socket, sys
os.environ["RES_OPTIONS"] = "timeout:2 attempts:1"
from concurrent.futures import ThreadPoolExecutor
def ask(word):
    name, colon, port = word.partition(":")
    try:
        socket.create_connection((name, port), 2).close() if colon else socket.getaddrinfo(name, None)
    except OSError as error:
        return word + " " + str(error.strerror or error)
with ThreadPoolExecutor(8) as pool:
    print(*{line for line in pool.map(ask, sys.argv[1:] * 4) if line}, sep="\\n")
"""
_SILENCE = "timed out"  # of a connection: a network policy, or a network in which a pod cannot reach itself
# A DNS query for `kubernetes.default.svc.cluster.local`, sent by the node's bash: a node has no `dig`. Each
# try uses another port, because the kernel remembers for half a minute the route of a packet that was sent
# before kube-proxy's rules. `dd` makes one datagram of it: bash would start another one at each newline, and
# the length of `kubernetes` is that byte.
_QUERY = (
    r"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
    r"\x0akubernetes\x07default\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01"
)
_ASK = (
    "exec 3<>/dev/udp/{address}/{port} && printf '{query}' | dd bs=512 iflag=fullblock status=none >&3"
    " && timeout 2 dd bs=512 count=1 status=none <&3 | od -An -v -tx1 -N8"
)
_FLAGS, _ANSWERS = 3, 7  # the bytes of an answer with its result code and its number of records
_RESULT_BITS = 0x0F


@dataclass(frozen=True)
class LookupPod:
    """The pod that looks up names: it runs an image with Python, in the workloads' namespace."""

    pod: str
    container: str


def answers_on_node(docker: Docker, kube: Kube, node: str) -> bool:
    """Whether cluster DNS answers at its Service's address, which needs CoreDNS and kube-proxy's rules."""
    service = kube.get("v1", "Service", _DNS, _SYSTEM)
    address = text(service, "spec", "clusterIP")
    if not address:
        return False
    done = docker.exec(node, ["bash", "-c", query_script(address)], seconds=_EXEC_SECONDS, check=False)
    return has_address(done.stdout)


def query_script(server: str, port: int = 53) -> str:
    """The script with which a node's bash queries this server; it prints the answer's first bytes."""
    return _ASK.format(address=server, port=port, query=_QUERY)


def has_address(printed: str) -> bool:
    """Whether these bytes are the start of an answer with at least one record."""
    try:
        answer = [int(byte, 16) for byte in printed.split()]
    except ValueError:
        return False
    return len(answer) > _ANSWERS and answer[_FLAGS] & _RESULT_BITS == 0 and answer[_ANSWERS] > 0


def check_names(
    cluster: Cluster, names: Sequence[str], routes: Sequence[str], outside: Sequence[str], line: Line
) -> None:
    """Look up `names` from a pod until all resolve, and connect to the `routes`, each HOST:PORT of a Service.

    Raises DeadlineError for a name that does not resolve, and for a refused connection. Two failures are only
    noted: a name `outside` the cluster, which not every part needs, and a connection that times out, which
    some networks do not allow. If no pod can look up names, a note reports that.
    """
    lookup_pod = _find_pod(cluster)
    if lookup_pod is None:
        line.note("not checked: none of the workshop's own pods runs here")
        return
    deadline = time.monotonic() + cluster.limits.names
    while True:
        try:
            failed = _look_up(cluster, lookup_pod, [_ALWAYS, *names, *routes, *outside])
        except ForbiddenError:
            line.note("not checked: your account may not run a command in a pod (`create pods/exec`)")
            return
        refused = [route for route in routes if failed.get(route, _SILENCE) != _SILENCE]
        missing = [*refused, *(name for name in (_ALWAYS, *names) if name in failed)]
        if not missing:
            line.note(_summary(names, [name for name in (*routes, *outside) if name in failed], lookup_pod))
            return
        if time.monotonic() > deadline:
            raise _no_answer(cluster, lookup_pod, missing[-1], failed[missing[-1]])
        line.note(f"`{missing[-1]}` {_lacks(missing[-1])} yet, {bound(cluster.limits.names)}")
        time.sleep(cluster.limits.look)


def _find_pod(cluster: Cluster) -> LookupPod | None:
    found: dict[str, LookupPod] = {}
    for pod in filter(is_ready, cluster.kube.list("v1", "Pod", cluster.namespace)):
        for container in items(pod, "spec", "containers"):
            found[text(container, "image")] = LookupPod(name_of(pod), text(container, "name"))
    return found.get(cluster.pins.practice) or found.get(cluster.pins.mcp_server)


def _look_up(cluster: Cluster, lookup_pod: LookupPod, names: Sequence[str]) -> Mapping[str, str]:
    """The names that do not resolve or connect in the pod, each with the pod's error."""
    words = ["--container", lookup_pod.container, "--", "python", "-c", LOOK_UP, *names]
    try:
        done = cluster.tools.kubectl.exec(
            cluster.at, cluster.namespace, lookup_pod.pod, words, seconds=_EXEC_SECONDS
        )
    except DeadlineError:
        return dict.fromkeys(names, "no answer in time")
    if done.code:
        return dict.fromkeys(names, _refused(done))
    # A refusal comes last, so that it replaces a timeout of the same name.
    lines = sorted(done.stdout.splitlines(), key=lambda line: not line.endswith(_SILENCE))
    failed = (line.partition(" ") for line in lines if line.strip())
    return {name: why for name, _, why in failed}


def _refused(done: Done) -> str:
    """Why no command could run in the pod: the kubelet does not answer yet, or the pod has just ended."""
    error = " ".join(done.stderr.split())
    if "orbidden" in error and "pods/exec" in error:
        raise ForbiddenError("Your account may not run a command in a pod", why=error)
    return error[:200] or f"exit code {done.code}"


def _summary(names: Sequence[str], absent: Sequence[str], lookup_pod: LookupPod) -> str:
    found = f"{', '.join(names) or _ALWAYS} resolve in {lookup_pod.pod}"
    return f"{found}, but not {', '.join(absent)}: a login of part 4 needs it" if absent else found


def _lacks(name: str) -> str:
    return "does not accept a connection" if ":" in name else "does not resolve"


def _no_answer(cluster: Cluster, lookup_pod: LookupPod, name: str, why: str) -> DeadlineError:
    pod = f"`{lookup_pod.pod}` for {cluster.limits.names:.0f} s"
    answer = f"The pod's error: {why}"
    if ":" in name:
        service = name.partition(":")[0]
        words = ["--namespace", cluster.namespace, "get", "endpointslices"]
        look = cluster.tools.kubectl.argv(cluster.at, *words, "-l", f"kubernetes.io/service-name={service}")
        return DeadlineError(
            f"Service `{name}` does not accept a connection, asked from pod {pod}",
            why=answer,
            hint=f"See whether it has a ready endpoint: `{copyable(look)}`; then run this command again",
        )
    words = ["--namespace", _SYSTEM, "get", "pods", "-l", f"k8s-app={_DNS}"]
    look = cluster.tools.kubectl.argv(cluster.at, *words)
    return DeadlineError(
        f"Cluster DNS does not resolve `{name}`, asked from pod {pod}",
        why="\n".join(part for part in (answer, _core_dns(cluster)) if part),
        hint=f"Look at CoreDNS: `{copyable(look)}`; once it is ready, run this command again",
    )


def _core_dns(cluster: Cluster) -> str:
    """The state of the pods of cluster DNS; empty if they may not be read."""
    try:
        pods: Sequence[Object] = cluster.kube.list("v1", "Pod", _SYSTEM, {"k8s-app": _DNS})
    except WorkshopError:
        return ""
    ready = sum(map(is_ready, pods))
    return f"CoreDNS: {ready} of {len(pods)} pods ready"
