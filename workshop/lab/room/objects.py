"""The names and labels of a room's objects, and the room's record in the cluster."""

import re
from collections.abc import Mapping

from workshop.core.errors import UsageError
from workshop.lab.cluster.record import MANAGED_BY

ROOM = "workshop/room"
ROOM_ID = "workshop/room-id"
SEAT = "workshop/seat"
PERSON = "workshop/person"
"""An annotation of a seat's namespace: who sits there, if the facilitator has a list."""
TOKEN_UNTIL = "workshop/token-until"  # noqa: S105 - an annotation's name
"""An annotation of a seat's namespace: the end of its newest token, as RFC 3339."""
RECORD = "workshop-room"
"""The ConfigMap in the room's namespace with the room's record."""
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_FEWEST_DIGITS = 2


def check_name(name: str) -> str:
    """Return a room's name; raises UsageError for one that cannot name a namespace, with room for a seat."""
    if _NAME.fullmatch(name):
        return name
    raise UsageError(
        f"`{name[:60]}` cannot name a room",
        why="The room's namespaces begin with its name",
        hint="Use at most 40 lower-case letters, digits and hyphens, such as `monday`",
    )


def seat_name(number: int) -> str:
    """The name of a seat, such as `01`."""
    return str(number).zfill(_FEWEST_DIGITS)


def seat_namespace(room: str, seat: str) -> str:
    """The namespace of a seat, such as `monday-01`."""
    return f"{room}-{seat}"


def room_labels(room: str, room_id: str, seat: str = "") -> Mapping[str, str]:
    """The labels of everything that belongs to a room, or to one of its seats."""
    return {**MANAGED_BY, ROOM: room, ROOM_ID: room_id, **({SEAT: seat} if seat else {})}
