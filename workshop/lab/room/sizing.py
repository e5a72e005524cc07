"""What a room needs of its cluster, calculated from its pods' requests, what is free, and measured figures.

`cluster/README.md` has the formula and where the figures come from.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workshop.core.errors import PreflightError, WorkshopError
from workshop.core.invocation import again
from workshop.lab.base import Deployment
from workshop.lab.cluster.workload_state import is_leaving
from workshop.lab.kube.client import Kube
from workshop.lab.kube.objects import Object, conditions_of, items, mapping, name_of, namespace_of, text
from workshop.lab.room.objects import ROOM

# Measured by `python -m tests.benchmarks.room`, and on a kind node of 2 cores.
CREATE_CALLS, CREATE_CALLS_ONCE = 14, 85  # of `room create`: a seat, and the room
UP_CALLS = 300  # of a seat's `up`
USED_MEMORY = 25  # MiB, of a pod on average: the server 48, the two proxies 15 and 12
CLIENTS = 5  # that a seat registers at its proxy: the agent, and some that `connect` prepares
_COLD_MINUTES = 10  # in which a class runs its first `up`
_MOST_CLIENTS = 10_000  # that a proxy keeps, unless `storage.maxDCRClients` changes it
_MIB = 2**20


@dataclass(frozen=True)
class Share:
    """A share of a cluster: pods, CPU in thousandths of a core, and memory in MiB."""

    pods: int = 0
    cpu: int = 0
    memory: int = 0

    def __add__(self, other: "Share") -> "Share":
        return Share(self.pods + other.pods, self.cpu + other.cpu, self.memory + other.memory)

    def __sub__(self, other: "Share") -> "Share":
        return Share(self.pods - other.pods, self.cpu - other.cpu, self.memory - other.memory)

    def times(self, number: int) -> "Share":
        return Share(self.pods * number, self.cpu * number, self.memory * number)

    def holds(self, one: "Share") -> int:
        """How many of `one` fit into it."""
        pairs = ((self.pods, one.pods), (self.cpu, one.cpu), (self.memory, one.memory))
        return max(0, min(have // need for have, need in pairs if need))


@dataclass(frozen=True)
class Sizing:
    """A room of so many `seats` on a cluster: what a seat requests, and what is free on each usable node."""

    room: str
    seats: int
    seat: Share
    nodes: Mapping[str, Share]

    @property
    def free(self) -> Share:
        """What is free on all nodes together."""
        return sum(self.nodes.values(), Share())

    @property
    def fits(self) -> int:
        """How many seats fit, node by node; the space of one is for the practice GitHub and the operator."""
        return max(0, sum(node.holds(self.seat) for node in self.nodes.values()) - 1)

    @property
    def nodes_missing(self) -> int:
        """How many more nodes like the largest one are needed; 0 for a cluster without a node to compare."""
        largest = max((node.holds(self.seat) for node in self.nodes.values()), default=0)
        return math.ceil((self.seats - self.fits) / largest) if largest and self.seats > self.fits else 0

    @property
    def create_calls(self) -> int:
        """The API calls of `room create`."""
        return CREATE_CALLS_ONCE + CREATE_CALLS * self.seats

    @property
    def refusal(self) -> WorkshopError | None:
        """The error for a room that does not fit; None for one that does."""
        if self.seats <= self.fits:
            return None
        need, free = _words(self.seat.times(self.seats)), _words(self.free)
        add = f"add {self.nodes_missing} nodes like the largest, or " if self.nodes_missing else ""
        return PreflightError(
            f"{self.seats} seats do not fit on this cluster: it has space for {self.fits}",
            why=f"When all are up, they request {need}; free on {len(self.nodes)} nodes are {free}",
            hint=f"Choose fewer seats; or {add}use a cluster with more nodes",
        )

    def require(self) -> None:
        """Raise PreflightError for a room that does not fit, with the way to create it all the same."""
        if refusal := self.refusal:
            refusal.hint = f"{refusal.hint}; {again('--yes')} if not all are up at once"
            raise refusal

    @property
    def rows(self) -> Sequence[tuple[str, str, str, str, str]]:
        """Each resource: its name, what a seat and all seats request, what is free, and for how many."""
        all_seats, free, seat = self.seat.times(self.seats), self.free, self.seat
        return [
            ("pods", str(seat.pods), str(all_seats.pods), str(free.pods), str(free.pods // seat.pods)),
            ("CPU", _cores(seat.cpu), _cores(all_seats.cpu), _cores(free.cpu), str(free.cpu // seat.cpu)),
            (
                "memory",
                _size(seat.memory),
                _size(all_seats.memory),
                _size(free.memory),
                str(free.memory // seat.memory),
            ),
        ]

    @property
    def lines(self) -> Sequence[str]:
        """What else grows with the number of seats, in sentences."""
        seats, create, up = self.seats, self.create_calls, UP_CALLS * self.seats
        calls = f"{create} of `room create`, {up} of the seats' first `up`"
        rate = up / (_COLD_MINUTES * 60)
        memory = _size(USED_MEMORY * self.seat.pods * seats)
        clients = max(_MOST_CLIENTS, 2 * CLIENTS * seats)
        rates = f"`registrationRateLimit.maxTokens` {seats} and `storage.maxDCRClients` {clients}"
        return [
            f"API calls: {calls}: {rate:.0f} a second if all seats run it within {_COLD_MINUTES} minutes",
            f"Memory in use: about {memory}; the pods request more, as headroom",
            f"Registrations: about {CLIENTS} clients at each seat's own proxy, which takes 60 a minute",
            f"One proxy for all seats would need {rates}; with a second replica also Redis or Valkey",
        ]

    @property
    def data(self) -> dict[str, Any]:
        """The same for a program; CPU in thousandths of a core, memory in MiB."""
        shares = {"seat": self.seat, "needed": self.seat.times(self.seats), "free": self.free}
        return {
            "room": self.room,
            "seats": self.seats,
            "fits": self.fits,
            "nodes": len(self.nodes),
            "nodes_missing": self.nodes_missing,
            **{
                name: {"pods": share.pods, "cpu": share.cpu, "memory": share.memory}
                for name, share in shares.items()
            },
            "calls": {"create": self.create_calls, "up": UP_CALLS * self.seats},
        }


def plan(kube: Kube, room: str, seats: int, parts: Sequence[Deployment]) -> Sizing:
    """The sizing of a room on this cluster; what the room has there already counts as free."""
    own = {name_of(space) for space in kube.list("v1", "Namespace", None, {ROOM: room})}
    used: dict[str, Share] = {}
    for pod in kube.list("v1", "Pod"):
        node = text(pod, "spec", "nodeName")
        # A pod without a node waits, and does not use anything yet.
        if node and namespace_of(pod) not in own and not is_leaving(pod):
            used[node] = used.get(node, Share()) + Share(1) + _requests(items(pod, "spec", "containers"))
    nodes = {
        name_of(node): _allocatable(node) - used.get(name_of(node), Share())
        for node in kube.list("v1", "Node")
        if _is_usable(node)
    }
    return Sizing(room, seats, seat_share(parts), nodes)


def seat_share(parts: Sequence[Deployment]) -> Share:
    """What the pods of a seat request by the parts' manifests; the practice GitHub is the room's."""
    found = Share()
    for part in parts:
        # An MCPServer's `spec.resources` is for ToolHive's proxy; the server has a pod of its own.
        for resource in (*part.resources.of("MCPServer"), *part.resources.of("MCPRemoteProxy")):
            found += Share(1) + _request(resource.mapping("spec.resources.requests"))
        for server in part.resources.of("MCPServer"):
            found += Share(1) + _requests(items(server.mapping("spec.podTemplateSpec"), "spec", "containers"))
    return found


def _requests(containers: Iterable[Mapping[str, Any]]) -> Share:
    return sum((_request(mapping(each, "resources", "requests")) for each in containers), Share())


def _request(found: Mapping[str, Any]) -> Share:
    return Share(0, _quantity(found, "cpu", 1000), _quantity(found, "memory", 1 / _MIB))


def _allocatable(node: Object) -> Share:
    found = mapping(node, "status", "allocatable")
    return Share(_quantity(found, "pods", 1)) + _request(found)


def _quantity(found: Mapping[str, Any], key: str, scale: float) -> int:
    """A quantity such as `50m` or `64Mi` in our unit, rounded up; 0 for one that is absent or not valid."""
    from kubernetes.utils.quantity import parse_quantity

    try:
        number = parse_quantity(text(found, key) or "0")  # type: ignore[no-untyped-call]  # no types here
    except ValueError:
        return 0
    return math.ceil(float(number) * scale)


def _is_usable(node: Object) -> bool:
    """Whether the scheduler may put a seat's pods on a node: it is ready, and keeps no pods away."""
    ready = conditions_of(node).get("Ready")
    taints = [text(taint, "effect") for taint in items(node, "spec", "taints")]
    cordoned = bool(mapping(node, "spec").get("unschedulable"))
    return (
        ready is not None and ready.holds and not cordoned and not {"NoSchedule", "NoExecute"} & set(taints)
    )


def _words(share: Share) -> str:
    return f"{share.pods} pods, {_cores(share.cpu)} and {_size(share.memory)}"


def _cores(thousandths: int) -> str:
    return f"{thousandths / 1000:.4g} cores"


def _size(mebibytes: int) -> str:
    return f"{mebibytes / 1024:.4g} GiB" if mebibytes >= 1024 else f"{mebibytes} MiB"  # noqa: PLR2004 - a GiB
