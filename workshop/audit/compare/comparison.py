"""The comparison from end to end: start each system, collect its evidence, remove it, fill the cells."""

import contextlib
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workshop.agent.sign_out import sign_out
from workshop.agent.token_store import TokenStore
from workshop.audit.compare import upstream
from workshop.audit.compare.client import Reply, Wire
from workshop.audit.compare.collect import attempt, collect
from workshop.audit.compare.evidence import Asked, Cell, Cleaned, Evidence, GitHubRecord, Searched, Unobserved
from workshop.audit.compare.rows import ROWS
from workshop.audit.compare.systems import Room, System, room_for, still_there
from workshop.core.console import Progress
from workshop.core.errors import WorkshopError
from workshop.core.foreign import one_line
from workshop.core.interrupts import interrupts
from workshop.servers.practice.client import fingerprint, read_requests

_MOST = 600
_APPROVED = re.compile(r"<li>(?!Nobody )\S+ has approved ")
_REVOKING = re.compile(r"revo(ke|cation)|/applications/|/grants?\b")


@dataclass(frozen=True)
class _AtGitHub:
    """What the practice GitHub still had when the system's own programs were gone."""

    approvals: int | None = None
    revoked: tuple[str, ...] = ()
    credential: int | None = None


async def clean_up(room: Room, logins: Path, found: Evidence, remove: Callable[[], None]) -> Cleaned:
    """Sign out, take back what was set up, stop the programs, ask GitHub, and `remove` the rest."""
    ports = [state.port for state in room.states().values()]
    async with Wire() as wire:
        signed_out, token_after = await _sign_out(wire, room, logins)
        login_left = TokenStore(logins).find(room.url) is not None
        steps = room.take_back()
        room.stop_server()
        left = await _ask_github(wire, room, found)
    remove()
    processes, taken = still_there(room.directory, ports)
    return Cleaned(
        steps,
        signed_out,
        token_after,
        login_left,
        left.approvals,
        left.revoked,
        left.credential,
        processes,
        taken,
        room.directory.exists(),
    )


async def _sign_out(wire: Wire, room: Room, logins: Path) -> tuple[str, Reply | None]:
    """End the agent's login (RFC 7009), and try its access token once more."""
    store = TokenStore(logins)
    login = store.find(room.url)
    if login is None or login.tokens is None:
        return "The agent had no login", None
    (ended,) = await sign_out(store, [login], forget=False)
    return ended.told, await wire.initialize(room.url, login.tokens.access_token, room.headers)


async def _ask_github(wire: Wire, room: Room, found: Evidence) -> _AtGitHub:
    if room.github is None:
        return _AtGitHub()
    url = room.endpoints[room.github]
    requests = await read_requests(url)
    home = await wire.send("GET", url)
    revoked = [each.path for each in requests if each.method == "DELETE" or _REVOKING.search(each.path)]
    return _AtGitHub(
        len(_APPROVED.findall(home.text)), tuple(revoked), await _is_good(wire, url, _credential(room, found))
    )


async def _is_good(wire: Wire, url: str, credential: str) -> int | None:
    if not credential:
        return None
    reply = await wire.send("GET", f"{url}/user", headers={"authorization": f"Bearer {credential}"})
    return reply.status


def _credential(room: Room, found: Evidence) -> str:
    """The credential for GitHub, where it is in our hands: the agent sent it, or it stood in a file."""
    if isinstance(found.searched, Searched) and found.searched.credential:
        return found.searched.credential
    if isinstance(found.github_record, GitHubRecord) and isinstance(found.asked, Asked):
        used = upstream.credentials(upstream.calls_of_tools(found.github_record.first, found.asked))
        return next((value for value in room.headers.values() if fingerprint(value) in used), "")
    return ""


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
class _Started:
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
        before: _Started | None = None
        for system in systems:
            try:
                started = _start(system, Path(base) / system.name.replace(" ", "-"), rest, progress)
            except (WorkshopError, OSError) as error:
                failed.append(_not_started(system, error))
                continue
            if before is not None:
                interrupts.run(_exchange_tokens(before, started))
                columns.append(_remove(before, progress))
            before = started
        if before is not None:
            columns.append(_remove(before, progress))
    return Comparison(columns, failed, time.monotonic() - began)


def _start(system: System, directory: Path, rest: contextlib.ExitStack, progress: Progress) -> _Started:
    began = time.monotonic()
    with progress.step(f"Look at {system.name}") as step:
        step.note("start")
        stack = rest.enter_context(contextlib.ExitStack())
        room = stack.enter_context(room_for(system, directory / "room"))
        evidence = interrupts.run(collect(room, directory / "logins", step.note))
        step.note(room.url)
    return _Started(room, stack, directory, began, evidence)


async def _exchange_tokens(one: _Started, other: _Started) -> None:
    """Show each the other's token."""
    async with Wire() as wire:
        for here, there in ((one, other), (other, one)):
            reply = await attempt(_NEIGHBOUR_SECONDS, lambda h=here, t=there: _present(wire, h, t))  # type: ignore[misc]
            if not isinstance(reply, Unobserved):
                seen = {**here.evidence.neighbours, there.room.system.name: reply}
                here.evidence = replace(here.evidence, neighbours=seen)


async def _present(wire: Wire, here: _Started, there: _Started) -> Reply:
    asked = there.evidence.asked
    if not isinstance(asked, Asked) or not asked.token:
        raise WorkshopError(f"{there.room.system.name} gave no token")
    return await wire.initialize(here.room.url, asked.token, here.room.headers)


def _remove(started: _Started, progress: Progress) -> Column:
    with progress.step(f"Take {started.room.system.name} away"):
        cleaned = interrupts.run(
            attempt(
                _CLEANUP_SECONDS,
                lambda: clean_up(started.room, started.logins, started.evidence, started.remove),
            )
        )
        started.remove()
    evidence = replace(started.evidence, cleaned=cleaned)
    system = started.room.system
    cells = {row.id: _safe(row.cell(evidence)) for row in ROWS}
    return Column(system.name, system.title, started.room.url, time.monotonic() - started.began, cells)


def _safe(cell: Cell) -> Cell:
    """A cell whose text, which repeats what servers said, is safe to print."""
    return Cell(one_line(cell.value, _MOST), one_line(cell.seen, _MOST), cell.tone)


def _not_started(system: System, error: WorkshopError | OSError) -> NotStarted:
    if isinstance(error, WorkshopError):
        return NotStarted(system.name, error.what, error.why, error.hint)
    return NotStarted(system.name, "It could not be started", error.strerror or str(error), "")
