"""Tokens for seats: each is bounded, belongs to the seat's ServiceAccount, and goes into a seat file."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from workshop.core.console import Progress
from workshop.core.errors import UsageError
from workshop.core.seats import record_key, seat_user
from workshop.lab.cluster.record import Cluster
from workshop.lab.kube.objects import text, uid_of
from workshop.lab.room.handout import Handout
from workshop.lab.room.objects import ACCOUNT, RECORD_SECRET, ROOM, SEAT, TOKEN_UNTIL, seat_namespace
from workshop.lab.room.parallel import for_each
from workshop.lab.room.record import Room, cluster_entry, read_room
from workshop.lab.room.seat_file import Practice, Seat, SeatFile, SeatImages

_HOUR = 3600


class Issuer:
    """Makes seat files for one room."""

    def __init__(self, site: Cluster, room: Room) -> None:
        self._kube = site.kube
        self._room = room
        self._entry = dict(cluster_entry(site))
        self._secret = self._record_secret() if room.upstream == "practice" else ""

    def issue(self, seat: str, seconds: int, *, noted: bool = True) -> SeatFile:
        """A seat file with a new token; its end is `noted` on the seat's namespace."""
        space = seat_namespace(self._room.name, seat)
        token, until = self._kube.token(ACCOUNT, space, seconds)
        if noted:
            body = {"metadata": {"annotations": {TOKEN_UNTIL: until}}}
            self._kube.patch("v1", "Namespace", space, None, body)
        return SeatFile(about=self._about(seat), cluster=self._entry, token=token)

    def is_current(self, file: SeatFile | None, account_uid: str) -> bool:
        """Whether a file that was written earlier still describes its seat, with a token that works."""
        # A token ends with its ServiceAccount, also if a new one has the same name.
        if file is None or file.account_uid != account_uid:
            return False
        until = file.expires
        same = (file.about, file.cluster) == (self._about(file.about.seat), self._entry)
        return same and until is not None and until > datetime.now(UTC)

    def _about(self, seat: str) -> Seat:
        room, images = self._room, self._room.images
        practice = None
        if room.upstream == "practice":
            user = seat_user(seat)
            practice = Practice(user=user, namespace=room.name, record_key=record_key(self._secret, user))
        return Seat(
            room=room.name,
            seat=seat,
            namespace=seat_namespace(room.name, seat),
            practice=practice,
            github_client_id=room.client_id or None,
            images=SeatImages(**images) if images else None,
        )

    def _record_secret(self) -> str:
        name, key = RECORD_SECRET
        value = text(self._kube.get("v1", "Secret", name, self._room.name), "data", key)
        try:
            return base64.b64decode(value, validate=True).decode() if value else _missing(self._room)
        except (binascii.Error, UnicodeDecodeError):
            return _missing(self._room)


def renew(
    site: Cluster, seats: Sequence[str], handout: Handout, progress: Progress, hours: int | None = None
) -> Mapping[str, SeatFile]:
    """Write new seat files for these seats, or for all; the tokens in the old ones stay valid."""
    room = read_room(site.kube, site.namespace)
    wanted = chosen(room, seats)
    handout.prepare()
    issuer = Issuer(site, room)
    with progress.step(f"Make tokens for {len(wanted)} seats") as line:
        seconds = (hours or room.hours) * _HOUR
        with handout.adding():
            made = for_each(wanted, lambda seat: handout.add(seat, issuer.issue(seat, seconds)), line.note)
    return made


def accounts(site: Cluster) -> Mapping[str, str]:
    """By seat, the uid of its ServiceAccount, which a token contains."""
    found = site.kube.list("v1", "ServiceAccount", None, {ROOM: site.namespace})
    return {text(one, "metadata", "labels", SEAT): uid_of(one) for one in found}


def chosen(room: Room, seats: Sequence[str]) -> Sequence[str]:
    """These seats, or all if none is named; raises UsageError for one that the room does not have."""
    unknown = [seat for seat in seats if seat not in room.numbers]
    if unknown:
        raise UsageError(
            f"Room `{room.name}` has no seat `{unknown[0]}`",
            hint=f"Its seats are {room.numbers[0]} to {room.numbers[-1]}",
        )
    return seats or room.numbers


def _missing(room: Room) -> str:
    raise UsageError(
        f"Room `{room.name}` lacks the secret of its practice GitHub",
        why=f"Secret `{RECORD_SECRET[0]}` in namespace `{room.name}` is missing or damaged",
        hint=f"`workshop room create {room.name}` makes what is missing",
    )
