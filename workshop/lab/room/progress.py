"""What a seat's commands share with the facilitator: the part reached, and the names of passed checks.

It is a ConfigMap in the seat's own namespace, and the only copy. `WORKSHOP_SHARE_PROGRESS=0` turns it off.
"""

import contextlib
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from workshop.lab.base import SEAT_FILE
from workshop.lab.kube.objects import Object, text
from workshop.lab.room.objects import ROOM, SEAT
from workshop.lab.room.seat_file import Seat, read

if TYPE_CHECKING:
    from workshop.lab.kube.client import Kube

PROGRESS = "workshop-progress"
SETTING = "WORKSHOP_SHARE_PROGRESS"
_MOST_SECONDS = 2.0
_MOST_CHECKS = 200


@dataclass(frozen=True)
class Progress:
    """The furthest part that was run (0: none), the passed checks as `PART/NAME`, and the time of writing."""

    part: int = 0
    checks: tuple[str, ...] = ()
    at: str = ""

    @classmethod
    def read(cls, found: Object | None) -> "Progress":
        """The progress in a ConfigMap, which the seat's owner may have written by hand."""
        part = text(found, "data", "part")
        checks = text(found, "data", "checks").split()[:_MOST_CHECKS]
        number = int(part) if len(part) == 1 and part.isascii() and part.isdigit() else 0
        return cls(number, tuple(checks), text(found, "data", "at"))

    def after(self, part: int, passed: Iterable[str] | None) -> "Progress":
        """The progress after a part was run, or after a check in which these names `passed`."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        if passed is None:
            return Progress(max(self.part, part), self.checks, at)
        others = [check for check in self.checks if not check.startswith(f"{part}/")]
        return Progress(self.part, tuple(sorted([*others, *(f"{part}/{name}" for name in passed)])), at)

    def config_map(self, seat: Seat) -> Object:
        """The ConfigMap in the namespace of the seat."""
        labels = {ROOM: seat.room, SEAT: seat.seat}
        data = {"part": str(self.part), "passed": str(len(self.checks)), "at": self.at}
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": PROGRESS, "namespace": seat.namespace, "labels": labels},
            "data": {**data, "checks": "\n".join(self.checks)},
        }


def share(directory: Path, part: int = 0, passed: Iterable[str] | None = None) -> None:
    """Write the progress after a command of the instance in this directory, if it is a seat of a room.

    It fails in silence, and takes two seconds at most: it is for the facilitator, and may not disturb the
    person who learns.
    """
    file = directory / SEAT_FILE
    if os.environ.get(SETTING) == "0" or not file.is_file():
        return
    names = None if passed is None else tuple(passed)
    # A daemon, because the command may end while the API server still does not answer.
    writing = threading.Thread(target=_write, args=(file, part, names), name="share progress", daemon=True)
    writing.start()
    writing.join(_MOST_SECONDS)


def _write(file: Path, part: int, passed: tuple[str, ...] | None) -> None:
    # Imported in the thread, so that the two seconds include that.
    from workshop.lab.kube.client import Kube

    with contextlib.suppress(Exception):
        seat = read(file)
        write(Kube(file, seat.context, own_nodes=False), seat.about, part, passed)


def write(kube: "Kube", seat: Seat, part: int, passed: tuple[str, ...] | None) -> None:
    """Merge the outcome of a command into the progress that the seat has."""
    before = Progress.read(kube.get("v1", "ConfigMap", PROGRESS, seat.namespace))
    kube.apply(before.after(part, passed).config_map(seat))
