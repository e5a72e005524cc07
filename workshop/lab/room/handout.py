"""What a facilitator hands out: seat files in a folder or a zip file, and a page of cards without secrets."""

import csv
import html
import io
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from workshop.core.errors import UsageError
from workshop.core.files import DamagedFileError, read_bounded
from workshop.core.invocation import again
from workshop.core.paths import make_private_dir, replace_text, write_private
from workshop.core.text import one_line
from workshop.lab.room import seat_file
from workshop.lab.room.objects import seat_namespace
from workshop.lab.room.record import Room
from workshop.lab.room.seat_file import SeatFile

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
                why=error.strerror or type(error).__name__,
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
                why=str(error),
                hint=again("--to=OTHER.zip"),
            ) from error


def read_people(path: Path) -> Sequence[str]:
    """The names in a CSV file: its column `name`, or else the first one; raises UsageError for none."""
    try:
        rows = [row for row in csv.reader(io.StringIO(_text(path))) if any(cell.strip() for cell in row)]
    except (OSError, DamagedFileError, UnicodeDecodeError, csv.Error) as error:
        why = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
        raise UsageError(f"The list of people `{path}` cannot be read", why=why[:200]) from error
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
        replace_text(path, "\n".join(_TEXT_CARD.format(**card) for card in cards))
        return
    safe = [{key: html.escape(value) for key, value in card.items()} for card in cards]
    shown = "\n".join(_CARD.format(**card) for card in safe)
    replace_text(path, _CARDS.format(room=html.escape(room.name), cards=shown))


def _text(path: Path) -> str:
    # Excel begins a CSV file in UTF-8 with a byte order mark.
    return read_bounded(path).decode("utf-8-sig")
