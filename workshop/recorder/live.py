"""The trace of a run while it goes on: a private file that the run replaces and `workshop open` shows.

It is written only while a page is open, and is masked as every trace is: `build_trace` makes both.
"""

import asyncio
import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workshop.core.errors import WorkshopError
from workshop.core.files import MOST_BYTES, DamagedFileError, read_json
from workshop.core.paths import make_private_dir, state_home, write_private
from workshop.recorder.files import from_data
from workshop.recorder.model import Trace
from workshop.recorder.wording import AWAITED, CUT_OFF

if TYPE_CHECKING:
    from workshop.recorder.recorder import Recorder

_SOON = 0.05
"""Seconds after a change, so that a burst of changes is written once."""
_SHARE = 5
"""How many times as long as the last writing took the next one waits: a run spends its time on itself."""


@dataclass(frozen=True)
class LiveTrace:
    """The trace of the latest run, and whether that run goes on."""

    trace: Trace
    running: bool


def live_file() -> Path:
    """The file of the latest run."""
    return _folder() / "trace.json"


def _folder() -> Path:
    return state_home() / "page"


@contextlib.contextmanager
def page_open() -> Iterator[None]:
    """Let runs write their trace inside the block; the last page that closes removes it."""
    mark = _folder() / f"{os.getpid()}.open"
    make_private_dir(mark.parent)
    mark.touch(mode=0o600)
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)
        if not is_page_open():
            shutil.rmtree(mark.parent, ignore_errors=True)


def is_page_open() -> bool:
    """Whether a page is open; the mark of a process that was killed is removed."""
    alive = False
    for mark in _folder().glob("*.open"):
        if mark.stem.isdigit() and _runs(int(mark.stem)):
            alive = True
        else:
            mark.unlink(missing_ok=True)
    return alive


def _runs(pid: int) -> bool:
    import psutil

    try:
        return psutil.pid_exists(pid)
    except OverflowError:  # the number is from a file or its name
        return False


def read_live() -> LiveTrace | None:
    """The latest run; None for none, and for a file that cannot be used."""
    try:
        data = read_json(live_file())
        trace, pid = from_data(data["trace"]), data["pid"]
        return LiveTrace(trace, running=isinstance(pid, int) and pid > 0 and _runs(pid))
    except (OSError, DamagedFileError, ValueError, KeyError, TypeError):
        return None


class LiveWriter:
    """Writes the trace of a recording soon after each change; what fails here does not fail the run.

    `build` makes the trace of what was recorded so far. It is called in a thread of its own as far as it
    waits: `upstream` reads the upstream's record.
    """

    def __init__(
        self, recorder: "Recorder", upstream: Callable[[], Any], build: Callable[[Any], Trace]
    ) -> None:
        self._upstream = upstream
        self._build = build
        self._task: asyncio.Task[None] | None = None
        self._again = False
        recorder.changed = self._changed

    def finish(self, trace: Trace) -> None:
        """Write the trace of a run that has ended."""
        with contextlib.suppress(OSError):
            _write(trace, 0)

    def _changed(self) -> None:
        self._again = True
        if self._task is None or self._task.done():
            with contextlib.suppress(RuntimeError):  # no event loop: the run has ended
                self._task = asyncio.get_running_loop().create_task(self._follow())

    async def _follow(self) -> None:
        took = 0.0
        while self._again:
            await asyncio.sleep(max(_SOON, _SHARE * took))
            # Before the reading, so that a change during it is written too.
            self._again = False
            with contextlib.suppress(OSError, WorkshopError):
                # In a thread, because it waits for the upstream's answer.
                upstream = await asyncio.to_thread(self._upstream)
                began = time.monotonic()
                _write(_unfinished(self._build(upstream)), os.getpid())
                took = time.monotonic() - began


def _unfinished(trace: Trace) -> Trace:
    """The trace of a run that goes on: a request without an answer waits for it."""
    steps = (replace(step, sentence=step.sentence.replace(CUT_OFF, AWAITED)) for step in trace.steps)
    return replace(trace, steps=tuple(steps))


def _write(trace: Trace, pid: int) -> None:
    """Replace the file; `pid` is the run's process, 0 when it has ended. What is too large is left out."""
    data = json.dumps({"pid": pid, "trace": asdict(trace)}, ensure_ascii=False).encode("utf-8", "replace")
    if len(data) <= MOST_BYTES:
        write_private(live_file(), data)
