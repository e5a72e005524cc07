"""The objects of a room and of each seat: names, labels, and contents from the files in `cluster/`."""

import copy
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Template
from typing import Any

from workshop.core.errors import UsageError
from workshop.core.paths import cluster_dir
from workshop.lab.base import PRACTICE_GITHUB, PRACTICE_PORT
from workshop.lab.cluster.record import MANAGED_BY
from workshop.lab.kube.client import Kube
from workshop.lab.kube.objects import (
    Object,
    annotations_of,
    items,
    mapping,
    name_of,
    namespace_of,
    number,
)

ROOM = "workshop/room"
ROOM_ID = "workshop/room-id"
SEAT = "workshop/seat"
PERSON = "workshop/person"
"""An annotation of a seat's namespace: who sits there, if the facilitator has a list."""
TOKEN_UNTIL = "workshop/token-until"  # noqa: S105 - the name of an annotation
"""An annotation of a seat's namespace: the end of its newest token, as RFC 3339."""
RECORD = "workshop-room"
"""The ConfigMap in the room's namespace with the room's record."""
RECORD_SECRET = ("practice-seats", "record-secret")
"""The Secret in the room's namespace, and its key, from which the seats' record keys are derived."""
ACCOUNT = "seat"
LOGIN_ROLE = "workshop-practice-login"
SEAT_KINDS = (
    ("v1", "Namespace"),
    ("v1", "ServiceAccount"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("v1", "ResourceQuota"),
    ("v1", "LimitRange"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("v1", "Service"),
)
_HASH = "workshop/hash"
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_RBAC = "rbac.authorization.k8s.io"
_HTTPS = 443
_OF_THE_API = {"kubernetes.io/service-name": "kubernetes"}
# A NetworkPolicy takes no names, and GitHub's addresses change: https://api.github.com/meta
_PUBLIC = (
    {
        "cidr": "0.0.0.0/0",
        "except": ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"],
    },
    {"cidr": "::/0", "except": ["fc00::/7", "fe80::/10"]},
)

Key = tuple[str, str, str]
"""The kind, namespace and name of an object."""


def check_name(name: str) -> str:
    """Return a room's name; raises UsageError for one that cannot begin the name of a namespace."""
    if _NAME.fullmatch(name):
        return name
    raise UsageError(
        f"`{name[:60]}` cannot name a room",
        why="The names of the room's namespaces begin with it",
        hint="Use at most 40 lower-case letters, digits and hyphens, such as `monday`",
    )


def seat_namespace(room: str, seat: str) -> str:
    """The namespace of a seat, such as `monday-01`."""
    return f"{room}-{seat}"


def room_labels(room: str, room_id: str, seat: str = "") -> Mapping[str, str]:
    """The labels of everything that belongs to a room, or to one of its seats."""
    # The random id tells a room from an earlier one of the same name, and from another owner's.
    return {**MANAGED_BY, ROOM: room, ROOM_ID: room_id, **({SEAT: seat} if seat else {})}


@dataclass(frozen=True)
class Reach:
    """What the pods of a seat may connect to besides each other: the API server, and one GitHub.

    `addresses` and `ports` are the API server's; `practice` is whether GitHub is the room's practice GitHub.
    """

    room: str
    practice: bool
    addresses: Sequence[str]
    ports: Sequence[int]

    @classmethod
    def of(cls, kube: Kube, room: str, *, practice: bool) -> "Reach":
        """With the API server's addresses as the cluster knows them: its endpoints, and its Service's."""
        # Both, because network plugins differ in whether a policy sees a Service's address or the endpoint's.
        service = kube.get("v1", "Service", "kubernetes", "default")
        addresses = {str(each) for each in mapping(service, "spec").get("clusterIPs") or ()}
        ports = {_HTTPS}
        for each in kube.list("discovery.k8s.io/v1", "EndpointSlice", "default", _OF_THE_API):
            ports |= {number(port, "port") for port in items(each, "ports")}
            addresses |= {str(one) for end in items(each, "endpoints") for one in end.get("addresses") or ()}
        return cls(room, practice, sorted(addresses), sorted(ports))

    def as_text(self) -> Mapping[str, str]:
        """The two rules of the seat's NetworkPolicy, as JSON, which is also YAML."""
        blocks = [{"ipBlock": {"cidr": f"{ip}/{128 if ':' in ip else 32}"}} for ip in self.addresses]
        api_server = {"to": blocks, "ports": [_tcp(port) for port in self.ports]}
        return {"api_server": json.dumps(api_server), "upstream": json.dumps(self._upstream())}

    def _upstream(self) -> Mapping[str, Any]:
        if not self.practice:
            return {"to": [{"ipBlock": block} for block in _PUBLIC], "ports": [_tcp(_HTTPS)]}
        # The API server sets this label itself: no other namespace can claim it.
        space = {"matchLabels": {"kubernetes.io/metadata.name": self.room}}
        pods = {"matchLabels": {"app.kubernetes.io/name": PRACTICE_GITHUB}}
        return {"to": [{"namespaceSelector": space, "podSelector": pods}], "ports": [_tcp(PRACTICE_PORT)]}


def seat_objects(room_id: str, seat: str, person: str, reach: Reach) -> Sequence[Object]:
    """The objects of one seat except its secrets; its namespace is first."""
    room, space = reach.room, seat_namespace(reach.room, seat)
    role, _ = _filled("seat-role.yaml")  # the second one is for a seat without a room
    found = [role, *_filled("seat.yaml", room=room, namespace=space, **reach.as_text())]
    if reach.practice:
        found.append(_login_binding(room, seat))
    else:
        found = [each for each in found if each["kind"] != "Service"]
    ready = [_finished(each, space, room_labels(room, room_id, seat), person) for each in found]
    return sorted(ready, key=lambda each: each["kind"] != "Namespace")


def room_objects(room: str, room_id: str) -> Sequence[Object]:
    """The Role and the NetworkPolicy in the room's own namespace."""
    return [finished(each, room, room_id) for each in _filled("room.yaml", room=room)]


def finished(body: Object, room: str, room_id: str) -> Object:
    """An object of the room's own namespace with the room's labels, and the hash of what it contains."""
    return _finished(body, room, room_labels(room, room_id))


def with_seats(deployment: Object, seats: int) -> Object:
    """The practice GitHub's Deployment with a user for each seat."""
    made = copy.deepcopy(deployment)
    (container,) = mapping(made, "spec", "template", "spec")["containers"]
    name, key = RECORD_SECRET
    container["args"] = ["--seats", str(seats)]
    container["env"] = [
        {"name": "PRACTICE_RECORD_SECRET", "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}
    ]
    return made


def key_of(body: Object) -> Key:
    """What identifies an object among those of a room."""
    return body["kind"], namespace_of(body), name_of(body)


def hash_of(body: Object) -> str:
    """The hash of what we applied an object with; empty if it has none."""
    return str(annotations_of(body).get(_HASH, ""))


def _login_binding(room: str, seat: str) -> Object:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"{LOGIN_ROLE}-{seat}", "namespace": room},
        "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": LOGIN_ROLE},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": seat_namespace(room, seat)}],
    }


def _finished(body: Object, namespace: str, labels: Mapping[str, str], person: str = "") -> Object:
    metadata = dict(mapping(body, "metadata"))
    metadata["labels"] = {**mapping(metadata, "labels"), **labels}
    annotations = dict(mapping(metadata, "annotations"))
    if body["kind"] != "Namespace":
        metadata.setdefault("namespace", namespace)
    elif person:
        annotations[PERSON] = person
    # A hash, because the API server adds defaults: what it returns differs from what was applied.
    whole = json.dumps([{**body, "metadata": metadata}, annotations], sort_keys=True)
    annotations[_HASH] = hashlib.sha256(whole.encode()).hexdigest()[:16]
    return {**body, "metadata": {**metadata, "annotations": annotations}}


def _filled(file: str, **names: str) -> Sequence[Object]:
    """The documents of a file in `cluster/`, with these names in the places of `$NAME`."""
    import yaml

    lines = (cluster_dir() / file).read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))  # a comment may contain a `$`
    found: Sequence[Object] = list(yaml.safe_load_all(Template(text).substitute(names)))
    return found


def _tcp(port: int) -> Mapping[str, Any]:
    return {"protocol": "TCP", "port": port}
