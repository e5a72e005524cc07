"""A room's objects in the API in memory, as `room create` and the seats' commands would leave them."""

import copy
import json
from typing import Any

from kmock._internal import parsing

from tests.lab.kube.fake_cluster import FakeCluster
from workshop.lab.room.objects import PERSON, RECORD, ROOM_ID, SEAT
from workshop.lab.room.objects import ROOM as OF_ROOM

ROOM = "monday"
Object = dict[str, Any]
_parse_path = parsing.parse_path


def _parsed(path: str) -> parsing.ParsedPath:
    """The path of a request; kmock takes the list of all namespaces for a namespace without a name."""
    if path == "/api/v1/namespaces":
        return parsing.ParsedPath("", "v1", "namespaces")
    return _parse_path(path)


parsing.parse_path = _parsed


def space(name: str, labels: Object | None = None, **annotations: str) -> Object:
    metadata = {"name": name, "labels": labels or {}, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def config_map(name: str, namespace: str, data: Object, labels: Object) -> Object:
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def seat_space(seat: str, room: str = ROOM, person: str = "", **annotations: str) -> Object:
    named = {PERSON: person} if person else {}
    return space(f"{room}-{seat}", {OF_ROOM: room, SEAT: seat}, **named, **annotations)


def within(found: Object, namespace: str) -> Object:
    """The same object in another namespace."""
    made = copy.deepcopy(found)
    made["metadata"]["namespace"] = namespace
    return made


def node(name: str, cpu: str = "4", memory: str = "16Gi", pods: str = "110", **spec: Any) -> dict[str, Any]:
    ready = {"type": "Ready", "status": "False" if spec.pop("lost", False) else "True"}
    allocatable = {"cpu": cpu, "memory": memory, "pods": pods}
    status = {"conditions": [ready], "allocatable": allocatable}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec, "status": status}


def put_room(cluster: FakeCluster, seats: int = 3, room: str = ROOM) -> None:
    """A room with its record and empty seats."""
    labels = {OF_ROOM: room, ROOM_ID: "made-up"}
    cluster.put(space(room, labels))
    people = {f"{seat:02}": f"Person {seat}" for seat in range(1, seats + 1)}
    data = {"seats": str(seats), "hours": "12", "people": json.dumps(people)}
    cluster.put(config_map(RECORD, room, data, labels))
    for seat, person in people.items():
        cluster.put(seat_space(seat, room, person))
