"""The flight recorder: the HTTP requests of a run, masked, explained, drawn and exported.

The recorder of this run is here because this is light to import: a part without MCP loads no HTTP client.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workshop.recorder.recorder import Recorder

_current: ContextVar["Recorder | None"] = ContextVar("flight_recorder", default=None)


def current() -> "Recorder | None":
    """The recorder of this run, if there is one."""
    return _current.get()


@contextlib.contextmanager
def recording(recorder: "Recorder") -> Iterator[None]:
    """Let `recorder` be the current one inside the block, and in the tasks that begin there."""
    token = _current.set(recorder)
    try:
        yield
    finally:
        _current.reset(token)
