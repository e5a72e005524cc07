"""A room's record in the cluster, and how this machine reaches the cluster."""

import contextlib
import json
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workshop.core.errors import UsageError
from workshop.core.files import parsed_json
from workshop.core.instance import Upstream
from workshop.core.invocation import again
from workshop.core.outgoing import is_loopback
from workshop.core.paths import state_home
from workshop.core.seats import seat_numbers
from workshop.lab.base import Limits
from workshop.lab.cluster.kubernetes import copy_context, no_context
from workshop.lab.cluster.record import Cluster, ClusterFile, ClusterRecord, Tools, new_id
from workshop.lab.kube.client import Kube
from workshop.lab.kube.connection import UNREACHABLE_HINT, ConflictError, UnreachableError
from workshop.lab.kube.lease import Lease
from workshop.lab.kube.objects import Object, is_being_deleted, labels_of, mapping, name_of, text
from workshop.lab.pins import Pins
from workshop.lab.room.objects import (
    RECORD,
    ROOM,
    ROOM_ID,
    check_name,
    finished,
    room_labels,
    seat_namespace,
)
from workshop.lab.tools.clusters import Access
from workshop.lab.tools.run import Runner

# All the rest of the entry stays here: the facilitator's own credentials are never in a seat file.
_REACHES = ("server", "certificate-authority-data", "tls-server-name", "insecure-skip-tls-verify")


@dataclass(frozen=True)
class Room:
    """What is recorded about a room: its id, its seats, and what they are made with.

    `client_id` is the OAuth app at the real GitHub; `people` are names by seat; `images` are those of the
    seats' programs, `mcp_server` and `practice`.
    """

    name: str
    id: str
    seats: int
    upstream: Upstream = "practice"
    client_id: str = ""
    hours: int = 12
    people: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)

    @property
    def numbers(self) -> Sequence[str]:
        """The seats by their numbers, such as `01`."""
        return seat_numbers(self.seats)

    def body(self) -> Object:
        """The ConfigMap with the record."""
        data = {
            "seats": str(self.seats),
            "upstream": self.upstream,
            "clientId": self.client_id,
            "hours": str(self.hours),
            "people": json.dumps(self.people, sort_keys=True),
            "images": json.dumps(self.images, sort_keys=True),
        }
        metadata = {"name": RECORD, "namespace": self.name}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        return finished(body, self.name, self.id)


def rooms_dir() -> Path:
    """The folder with a folder for each room that this machine has created or looked at."""
    return state_home() / "rooms"


def unopened(
    name: str, context: str | None, runner: Runner, overrides: Mapping[str, str] | None = None
) -> Cluster:
    """The same as `open_site` for a plan: the cluster is not asked, and nothing is written."""
    home, pins = rooms_dir() / check_name(name), Pins.load(overrides)
    record = ClusterRecord("kubernetes", new_id(), _context(name, context, ClusterFile(home).read()), name)
    at = Access(home / "kubeconfig", record.name)
    return Cluster(home, record, pins, at, Tools(runner, home, pins), ClusterFile(home))


@contextlib.contextmanager
def open_site(
    name: str,
    context: str | None,
    runner: Runner,
    *,
    overrides: Mapping[str, str] | None = None,
    yes: bool = False,
    limits: Limits | None = None,
) -> Iterator[Cluster]:
    """The cluster of a room, with the room as one more seat of its operator, and its id as the instance's.

    The id is the room's if the room exists, otherwise a new one. Without a `context`, it is the one that this
    machine last used for the room. What a command that only looks, or is refused, needed here is removed.
    """
    site = unopened(name, context, runner, overrides)
    try:
        copy_context(runner, site.record.name, site.at.kubeconfig, yes=yes)
        site = replace(site, limits=limits or Limits())
        known, found = site.file.read(), find_id(site.kube, name)
        # The room may have been removed and created again from another machine: then it has another id.
        if known and (known.id, known.name) == (found, site.record.name):
            yield replace(site, record=known)
        else:
            yield replace(site, record=replace(site.record, id=found or site.record.id))
    except UnreachableError as error:
        if error.hint == UNREACHABLE_HINT:  # `create` and `remove` have a better one
            ask = f"`kubectl --context {shlex.quote(site.record.name)} get nodes` asks it"
            error.hint = f"Is the cluster running, and are you in its network? {ask}"
        raise
    finally:
        if site.file.read() is None:  # a kubeconfig with the facilitator's rights would stay behind
            shutil.rmtree(site.home, ignore_errors=True)


def only_here(site: Cluster) -> bool:
    """Whether the API server's address is one that only this machine reaches, as kind's is."""
    return is_loopback(str(cluster_entry(site).get("server", "")))


def _context(name: str, context: str | None, known: ClusterRecord | None) -> str:
    chosen = context or (known.name if known else None)
    if chosen is None:
        raise no_context(
            f"This machine does not know the cluster of room `{name}`", f"{again('--context=CLUSTER')}; "
        )
    return chosen


def find_id(kube: Kube, name: str) -> str | None:
    """The id of a room, or None if there is no such room; raises UsageError if the name belongs to others.

    If its own namespace is gone, its seats' namespaces still have the id.
    """
    found = kube.get("v1", "Namespace", name)
    if found is None:
        seats = kube.list("v1", "Namespace", None, {ROOM: name})
        return next((found_id for seat in seats if (found_id := str(labels_of(seat).get(ROOM_ID, "")))), None)
    room_id = text(found, "metadata", "labels", ROOM_ID)
    if labels_of(found).get(ROOM) != name or not room_id:
        raise UsageError(
            f"Namespace `{name}` exists, and is not a room's",
            why="It does not carry the label of a room, so nothing in it is changed",
            hint="Choose another name for the room",
        )
    return room_id


def read_room(kube: Kube, name: str) -> Room:
    """The record of a room; raises UsageError if there is none."""
    room = known_room(kube, name)
    if room is None:
        raise absent(name)
    return room


def absent(name: str) -> UsageError:
    """The error for a room that the cluster does not have."""
    return UsageError(
        f"There is no room `{name}` on this cluster",
        why=f"Namespace `{name}` has no ConfigMap `{RECORD}`",
        hint="Another `--context`? `kubectl get namespaces -l workshop/room` lists a cluster's rooms",
    )


def known_room(kube: Kube, name: str) -> Room | None:
    """The record of a room, or None if there is none; raises UsageError for a damaged one."""
    room_id = find_id(kube, name)
    found = kube.get("v1", "ConfigMap", RECORD, name) if room_id else None
    if room_id is None or found is None:
        return None
    data = {key: str(value) for key, value in mapping(found, "data").items()}
    try:
        return Room(
            name=name,
            id=room_id,
            seats=int(data["seats"]),
            upstream="github" if data.get("upstream") == "github" else "practice",
            client_id=data.get("clientId", ""),
            hours=int(data["hours"]),
            people=parsed_json(data.get("people") or "{}"),
            images=parsed_json(data.get("images") or "{}"),
        )
    except (LookupError, ValueError) as error:
        raise UsageError(
            f"The record of room `{name}` is damaged",
            why=f"ConfigMap `{RECORD}` in namespace `{name}` cannot be read",
            hint=f"`workshop room create {name} --seats N` writes it again",
        ) from error


def require_free(site: Cluster, room: Room) -> None:
    """Raise UsageError if a namespace of a seat exists and is not this room's."""
    names = {seat_namespace(room.name, seat) for seat in room.numbers}
    own = room_labels(room.name, site.record.id)
    for space in site.kube.list("v1", "Namespace"):
        if name_of(space) not in names:
            continue
        if not own.items() <= labels_of(space).items():
            raise UsageError(
                f"Namespace `{name_of(space)}` exists, and is not a seat of room `{room.name}`",
                why=f"It does not carry the labels `{ROOM}` and `{ROOM_ID}` of this room",
                hint="Choose another name for the room; nothing was changed",
            )
        if is_being_deleted(space):
            raise UsageError(
                f"Namespace `{name_of(space)}` is being deleted",
                hint="Run the same command again when it is gone",
            )


def claim(site: Cluster) -> Cluster:
    """Create the room's namespace, unless it exists; the site with the id of whoever was first."""
    kube, name = site.kube, site.namespace
    if find_id(kube, name) is None:
        labels = {**site.record.labels, **room_labels(name, site.record.id)}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        with contextlib.suppress(ConflictError):  # another facilitator was faster
            kube.create(body)
    space = kube.get("v1", "Namespace", name)
    if is_being_deleted(space):
        raise UsageError(
            f"Room `{name}` is being removed",
            why="Its namespace is being deleted",
            hint="Run the same command again when it is gone",
        )
    return replace(site, record=replace(site.record, id=find_id(kube, name) or site.record.id))


def room_lease(site: Cluster) -> Lease:
    """The lease that one command at a time holds on a room."""
    room = site.namespace
    # Random, so that two facilitators are two holders.
    return Lease(site.kube, RECORD, room, f"{room}/{new_id()}", what=f"room `{room}`")


def cluster_entry(site: Cluster) -> Mapping[str, Any]:
    """What a seat file needs to reach the API server, from the facilitator's kubeconfig."""
    import yaml

    (entry,) = yaml.safe_load(site.at.kubeconfig.read_text(encoding="utf-8"))["clusters"]
    return {key: value for key, value in entry["cluster"].items() if key in _REACHES}
