"""What a facilitator hands out: seat files in a folder or a zip file, and a page of cards without secrets.

A seat file has a token of the seat's ServiceAccount, which expires.
"""

import base64
import binascii
import csv
import html
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from workshop.core.console import Progress
from workshop.core.errors import UsageError, reason
from workshop.core.files import DamagedFileError, read_bounded
from workshop.core.invocation import again
from workshop.core.paths import make_private_dir, replace_file, write_private
from workshop.core.seats import record_key, seat_user
from workshop.core.text import one_line
from workshop.lab.cluster.record import Cluster
from workshop.lab.kube.objects import text, uid_of
from workshop.lab.room import seat_file
from workshop.lab.room.objects import ACCOUNT, RECORD_SECRET, ROOM, SEAT, TOKEN_UNTIL, seat_namespace
from workshop.lab.room.record import Room, cluster_entry, read_room
from workshop.lab.room.seat_file import Practice, Seat, SeatFile, SeatImages
from workshop.lab.steps import for_each

_HOUR = 3600
_MOST_PEOPLE = 5000
_HEADINGS = ("name", "person", "attendee")
_CARDS = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Seats of {room}</title>
<style>
body {{ font: 14px/1.5 system-ui, sans-serif; margin: 1rem; }}
main {{ display: grid; grid-template-columns: repeat(2, 1fr); gap: 1rem; }}
article {{ border: 1px solid; border-radius: 6px; padding: .75rem 1rem; break-inside: avoid; }}
h2 {{ margin: 0; font-size: 1.25rem; }}
p {{ margin: .25rem 0; }}
code {{ font-size: 1rem; }}
</style>
<main>
{cards}
</main>
</html>
"""
_CARD = """<article>
<h2>{person}</h2>
<p>Room {room}, seat {seat}</p>
<p><code>{command}</code></p>
</article>"""

_TEXT_CARD = "{person}\nRoom {room}, seat {seat}\n{command}\n"


class Handout:
    """The seat files of one room: a private folder with a file for each seat, or one private zip file."""

    def __init__(self, path: Path, room: str) -> None:
        self.path = path
        self._room = room
        self._zipped: dict[str, bytes] = self._read_zip() if self.is_zip else {}

    @property
    def is_zip(self) -> bool:
        return self.path.suffix.lower() == ".zip"

    def name(self, seat: str) -> str:
        """The name of a seat's file."""
        return f"{seat_namespace(self._room, seat)}.kubeconfig"

    def where(self, seat: str) -> str:
        """Where a seat's file is, for a person."""
        return self.name(seat) if self.is_zip else str(self.path / self.name(seat))

    def read(self, seat: str) -> SeatFile | None:
        """The file of a seat from an earlier command; None if there is none that can be used."""
        try:
            if self.is_zip:
                return seat_file.parsed(self._zipped[self.name(seat)])
            return seat_file.parsed(read_bounded(self.path / self.name(seat)))
        except (OSError, LookupError, DamagedFileError):
            return None

    def prepare(self) -> None:
        """Make sure that files can be written, before anything is created; raises UsageError otherwise."""
        folder = self.path.parent if self.is_zip else self.path
        try:
            make_private_dir(folder)
        except OSError as error:
            raise UsageError(
                f"The seat files cannot be written to `{self.path}`",
                why=reason(error),
                hint=f"{again('--to=FOLDER')}, or a file that ends in `.zip`",
            ) from error

    def add(self, seat: str, file: SeatFile) -> SeatFile:
        """Write a seat's file and return it; into a zip file at the end of `adding`."""
        if self.is_zip:
            self._zipped[self.name(seat)] = seat_file.text_of(file)
        else:
            seat_file.write(self.path / self.name(seat), file)
        return file

    @contextmanager
    def adding(self) -> Iterator[None]:
        """Write a zip file when the block ends, with what was added also if it fails."""
        try:
            yield
        finally:
            if self.is_zip:
                write_private(self.path, self._packed())

    def _packed(self) -> bytes:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in sorted(self._zipped.items()):
                entry = zipfile.ZipInfo(name)
                entry.external_attr = 0o600 << 16  # what `unzip` makes is private too
                archive.writestr(entry, data)
        return packed.getvalue()

    def _read_zip(self) -> dict[str, bytes]:
        if not self.path.exists():
            return {}
        try:
            with zipfile.ZipFile(io.BytesIO(read_bounded(self.path))) as archive:
                return {name: archive.read(name) for name in archive.namelist()}
        except (OSError, DamagedFileError, zipfile.BadZipFile) as error:
            raise UsageError(
                f"`{self.path}` exists, and is not a zip file that can be extended",
                why=reason(error),
                hint=again("--to=OTHER.zip"),
            ) from error


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

    def hand_out(
        self, seats: Sequence[str], hours: int, handout: Handout, note: Callable[[str], None]
    ) -> Mapping[str, SeatFile]:
        """Write the file of each of these seats, with a new token that is valid for so many hours."""
        with handout.adding():
            return for_each(seats, lambda seat: handout.add(seat, self.issue(seat, hours * _HOUR)), note)

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
        with suppress(binascii.Error, UnicodeDecodeError):
            if value:
                return base64.b64decode(value, validate=True).decode()
        raise UsageError(
            f"Room `{self._room.name}` lacks the secret of its practice GitHub",
            why=f"Secret `{name}` in namespace `{self._room.name}` is missing or damaged",
            hint=f"`workshop room create {self._room.name}` makes what is missing",
        )


def renew(
    site: Cluster, seats: Sequence[str], handout: Handout, progress: Progress, hours: int | None = None
) -> Mapping[str, SeatFile]:
    """Write new seat files for these seats, or for all; the tokens in the old ones stay valid."""
    room = read_room(site.kube, site.namespace)
    wanted = chosen(room, seats)
    handout.prepare()
    issuer = Issuer(site, room)
    with progress.step(f"Make tokens for {len(wanted)} seats") as line:
        return issuer.hand_out(wanted, hours or room.hours, handout, line.note)


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


def read_people(path: Path) -> Sequence[str]:
    """The names in a CSV file: its column `name`, or else the first one; raises UsageError for none."""
    try:
        # Excel begins a CSV file in UTF-8 with a byte order mark.
        lines = io.StringIO(read_bounded(path).decode("utf-8-sig"))
        rows = [row for row in csv.reader(lines) if any(cell.strip() for cell in row)]
    except (OSError, DamagedFileError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"The list of people `{path}` cannot be read", why=reason(error)[:200]) from error
    heading = [cell.strip().lower() for cell in rows[0]] if rows else []
    column = next((heading.index(name) for name in _HEADINGS if name in heading), None)
    # True counts as 1 in the slice: the line of headings is left out.
    names = [row[column or 0] if len(row) > (column or 0) else "" for row in rows[column is not None :]]
    people = [one_line(name.strip()) for name in names]
    if not 0 < len(people) <= _MOST_PEOPLE:
        raise UsageError(
            f"`{path}` lists {len(people) or 'no'} people",
            hint=f"Write one name a line, at most {_MOST_PEOPLE}; a first line `name` is a heading",
        )
    return people


def write_cards(path: Path, room: Room, handout: Handout) -> None:
    """Write a page with a card for each seat: HTML, or plain text if the file's name ends in `.txt`."""
    cards = [
        {
            "room": room.name,
            "seat": seat,
            "person": room.people.get(seat, "") or f"Seat {seat}",
            "command": f"workshop join {handout.name(seat)}",
        }
        for seat in room.numbers
    ]
    if path.suffix.lower() == ".txt":
        replace_file(path, "\n".join(_TEXT_CARD.format(**card) for card in cards).encode())
        return
    safe = [{key: html.escape(value) for key, value in card.items()} for card in cards]
    shown = "\n".join(_CARD.format(**card) for card in safe)
    replace_file(path, _CARDS.format(room=html.escape(room.name), cards=shown).encode())
