"""The comparison from end to end: one system after the other, each in its room, then the cells."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workshop.audit.compare.attempts import attempt
from workshop.audit.compare.cell import Cell
from workshop.audit.compare.cleanup import clean_up
from workshop.audit.compare.evidence import Asked, Evidence, Unseen
from workshop.audit.compare.gather import gather
from workshop.audit.compare.rooms import Room, System, room_for
from workshop.audit.compare.rows import ROWS
from workshop.audit.compare.wire import Reply, Wire
from workshop.core.console import Progress, plain
from workshop.core.errors import WorkshopError
from workshop.core.interrupts import interrupts

_CLEANUP_SECONDS = 40.0
_NEIGHBOUR_SECONDS = 5.0


@dataclass(frozen=True)
class Column:
    """One system of the comparison, with a cell for each row."""

    name: str
    title: str
    url: str
    seconds: float
    cells: Mapping[str, Cell]


@dataclass(frozen=True)
class NotStarted:
    """A system that could not be looked at, and why."""

    name: str
    what: str
    why: str
    hint: str

    @property
    def said(self) -> str:
        return ". ".join(part for part in (self.what, self.why, self.hint) if part)


@dataclass(frozen=True)
class Comparison:
    """All that was seen of all systems."""

    columns: Sequence[Column]
    not_started: Sequence[NotStarted]
    seconds: float

    @property
    def unseen(self) -> int:
        """How many cells could not be told."""
        return sum(cell.tone == "unseen" for column in self.columns for cell in column.cells.values())


@dataclass
class _Visit:
    """A system that runs, and what has been seen of it."""

    room: Room
    stack: contextlib.ExitStack
    directory: Path
    began: float
    evidence: Evidence

    @property
    def logins(self) -> Path:
        return self.directory / "logins"

    def remove(self) -> None:
        """Stop everything and remove every file."""
        self.stack.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def compare(systems: Sequence[System], progress: Progress) -> Comparison:
    """Look at each system; one that does not start is told of, and the others are looked at.

    At most two run at a time: the next one's tokens are shown to each before it is taken away.
    """
    began, columns, failed = time.monotonic(), list[Column](), list[NotStarted]()
    with tempfile.TemporaryDirectory(prefix="workshop-compare-") as base, contextlib.ExitStack() as rest:
        before: _Visit | None = None
        for system in systems:
            try:
                visit = _look(system, Path(base) / system.name.replace(" ", "-"), rest, progress)
            except (WorkshopError, OSError) as error:
                failed.append(_not_started(system, error))
                continue
            if before is not None:
                interrupts.run(_meet(before, visit))
                columns.append(_leave(before, progress))
            before = visit
        if before is not None:
            columns.append(_leave(before, progress))
    return Comparison(columns, failed, time.monotonic() - began)


def _look(system: System, directory: Path, rest: contextlib.ExitStack, progress: Progress) -> _Visit:
    began = time.monotonic()
    with progress.step(f"Look at {system.name}") as step:
        step.note("start")
        stack = rest.enter_context(contextlib.ExitStack())
        room = stack.enter_context(room_for(system, directory / "room"))
        evidence = interrupts.run(gather(room, directory / "logins", step.note))
        step.note(room.url)
    return _Visit(room, stack, directory, began, evidence)


async def _meet(one: _Visit, other: _Visit) -> None:
    """Show each the other's token."""
    async with Wire() as wire:
        for here, there in ((one, other), (other, one)):
            reply = await attempt(_NEIGHBOUR_SECONDS, lambda h=here, t=there: _knock(wire, h, t))  # type: ignore[misc]
            if not isinstance(reply, Unseen):
                seen = {**here.evidence.neighbours, there.room.system.name: reply}
                here.evidence = replace(here.evidence, neighbours=seen)


async def _knock(wire: Wire, here: _Visit, there: _Visit) -> Reply:
    asked = there.evidence.asked
    if not isinstance(asked, Asked) or not asked.token:
        raise WorkshopError(f"{there.room.system.name} gave no token")
    return await wire.knock(here.room.url, asked.token, here.room.headers)


def _leave(visit: _Visit, progress: Progress) -> Column:
    with progress.step(f"Take {visit.room.system.name} away"):
        cleaned = interrupts.run(
            attempt(
                _CLEANUP_SECONDS, lambda: clean_up(visit.room, visit.logins, visit.evidence, visit.remove)
            )
        )
        visit.remove()
    evidence = replace(visit.evidence, cleaned=cleaned)
    system = visit.room.system
    cells = {row.id: _safe(row.cell(evidence)) for row in ROWS}
    return Column(system.name, system.title, visit.room.url, time.monotonic() - visit.began, cells)


def _safe(cell: Cell) -> Cell:
    """A cell whose text, which repeats what servers said, is safe to print."""
    return Cell(plain(cell.value), plain(cell.seen), cell.tone)


def _not_started(system: System, error: WorkshopError | OSError) -> NotStarted:
    if isinstance(error, WorkshopError):
        return NotStarted(system.name, error.what, error.why, error.hint)
    return NotStarted(system.name, "It could not be started", error.strerror or str(error), "")
