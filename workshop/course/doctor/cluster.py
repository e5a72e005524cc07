"""What a cluster needs: Docker, kind, kubectl, Helm, and a name that is not in use."""

import ipaddress
import json
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from workshop.core.errors import WorkshopError
from workshop.core.files import read_json
from workshop.core.instance import Instance
from workshop.course.doctor import Finding, Machine
from workshop.lab.pins import Pins
from workshop.lab.tools.clusters import Helm, Kind, Kubectl, skew_note
from workshop.lab.tools.run import Version, parsed, spelled

_ASK_SECONDS = 20.0
_DRIFT_SECONDS = 30.0
_FEW_CPUS = 2


def engine(machine: Machine) -> Iterator[Finding]:
    """Docker's engine: its state, its product and its size."""
    try:
        found = machine.engine
        if isinstance(found, WorkshopError):
            raise found
        found.refuse_remote()
    except WorkshopError as error:
        yield Finding(error.code, machine.unless_wanted, error.sentence, error.hint)
        return
    size = f"{found.cpus} CPUs, {found.memory_bytes / 2**30:.1f} GiB"
    yield Finding("docker", "ok", f"{found.name} {found.version}, {found.platform}, {size}")
    if found.cpus < _FEW_CPUS:
        yield Finding("docker-cpus", "warn", f"The engine has {found.cpus} CPU", "Give it 2 or more")
    for warning in found.warnings:
        yield Finding("docker-warning", "warn", warning, "See the settings of your Docker")


def tools(machine: Machine) -> Iterator[Finding]:
    """Whether kind, kubectl and Helm are installed in a supported version."""
    examined: dict[str, Callable[[], Version]] = {
        "kind": Kind(machine.runner).examine,
        "kubectl": Kubectl(machine.runner).examine,
        "helm": Helm(machine.runner, machine.home / "helm").examine,
    }
    for name, examine in examined.items():
        try:
            version = examine()
            yield Finding(name, "ok", f"{name} {spelled(version)}")
            if name == "kubectl":
                yield from _skew(version)
        except WorkshopError as error:
            yield Finding(name, machine.unless_wanted, error.sentence, error.hint)


def _skew(version: Version) -> Iterator[Finding]:
    """Whether kubectl is too far from the version of the cluster that `up` creates."""
    node = parsed(Pins.load().node_image.rpartition(":v")[2]) or version
    if note := skew_note(version, node):
        yield Finding(
            "kubectl-skew", "info", note, "A nearer kubectl: https://kubernetes.io/docs/tasks/tools/"
        )


def leftovers(machine: Machine) -> Iterator[Finding]:
    """A cluster with the workshop's name, but without a recorded state."""
    if isinstance(machine.engine, WorkshopError):
        return
    name = Pins.load().cluster_name
    try:
        there = name in Kind(machine.runner).clusters()
    except WorkshopError:
        return  # `tools` reports kind
    record = Instance.load().record
    if there and (record is None or record.backend != "kind"):
        remedy = f"If you do not need it: `kind delete cluster --name {name}`"
        yield Finding(
            "leftover-cluster", "warn", f"Found a cluster `{name}` that has no recorded state", remedy
        )


def images(machine: Machine) -> Iterator[Finding]:
    """The images that `up` still has to fetch or build."""
    if not machine.cluster or isinstance(machine.engine, WorkshopError):
        return
    pins = Pins.load()
    wanted = (pins.node_image, *pins.images())
    missing = [ref for ref in wanted if machine.docker.image(ref) is None]
    if missing:
        remedy = "Run `workshop up` at home, or bring `workshop bundle create FILE` along"
        yield Finding("images", "info", f"Still to fetch or build: {', '.join(missing)}", remedy)
    else:
        yield Finding("images", "ok", f"All {len(wanted)} images are on this machine")


def clock(machine: Machine) -> Iterator[Finding]:
    """Whether the engine's clock agrees with this machine's; it may be late after a sleep."""
    if isinstance(machine.engine, WorkshopError):
        return
    argv = ["docker", "info", "--format", "{{.SystemTime}}"]
    answer = machine.runner.run(argv, seconds=_ASK_SECONDS, check=False).stdout.strip()
    try:
        drift = abs((datetime.now(UTC) - datetime.fromisoformat(answer[:26] + "+00:00")).total_seconds())
    except ValueError:
        return
    if drift > _DRIFT_SECONDS:
        remedy = "Restart Docker (on WSL: `wsl --shutdown`), and check this machine's clock"
        yield Finding("clock", "fail", f"Docker's clock is {drift:.0f} s away from this machine's", remedy)
    else:
        yield Finding("clock", "ok", "Docker's clock agrees with this machine's")


def subnets(machine: Machine) -> Iterator[Finding]:
    """Whether one of Docker's networks overlaps one of this machine's, such as that of a VPN."""
    if isinstance(machine.engine, WorkshopError):
        return
    listed = machine.runner.run(["docker", "network", "ls", "--quiet"], seconds=_ASK_SECONDS, check=False)
    names = listed.stdout.split()
    if not names:
        return
    asked = machine.runner.run(["docker", "network", "inspect", *names], seconds=_ASK_SECONDS, check=False)
    for name, network in _docker_networks(asked.stdout):
        for interface, own in _own_networks():
            if network.overlaps(own):
                remedy = "Leave the VPN, or give Docker other addresses (`default-address-pools`)"
                found = f"Docker's network `{name}` ({network}) overlaps `{interface}` ({own})"
                yield Finding("subnets", "warn", found, remedy)


def registry_login(_: Machine) -> Iterator[Finding]:
    """A stored login for the registry of our images: an expired one is refused, although none is needed."""
    registry = Pins.load().operator.split("/", 1)[0]
    path = Path.home() / ".docker" / "config.json"
    try:
        stored = read_json(path)
        logins = {*stored.get("auths", {}), *stored.get("credHelpers", {})}
    except (OSError, ValueError, AttributeError, TypeError):
        return
    if registry in logins:
        remedy = f"If pulls fail with 403: `docker logout {registry}`. Helm does not use it"
        yield Finding("registry-login", "info", f"Docker has a login for {registry}", remedy)


def _docker_networks(text: str) -> Iterator[tuple[str, ipaddress.IPv4Network]]:
    try:
        networks = json.loads(text)
    except ValueError:
        return
    for network in networks:
        for config in (network.get("IPAM") or {}).get("Config") or []:
            subnet = config.get("Subnet", "")
            if subnet and ":" not in subnet:
                yield network.get("Name", ""), ipaddress.IPv4Network(subnet, strict=False)


def _own_networks() -> Iterator[tuple[str, ipaddress.IPv4Network]]:
    import psutil

    for interface, addresses in psutil.net_if_addrs().items():
        # Interfaces of Docker and of virtual machines overlap with its networks by design.
        if interface.startswith(("docker", "br-", "veth", "lo", "bridge", "vmnet")):
            continue
        for address in addresses:
            if address.family is socket.AF_INET and address.netmask:
                network = ipaddress.IPv4Network(f"{address.address}/{address.netmask}", strict=False)
                yield interface, network
