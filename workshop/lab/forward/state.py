"""How a forward is, in a small file that `status` reads."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from workshop.core.paths import write_private


@dataclass(frozen=True)
class ForwardState:
    """Whether the forward stands, since when it has been so, and what went wrong last.

    `restarts` counts the times that kubectl was started again; `since` is in seconds since the epoch.
    """

    state: Literal["connecting", "forwarding"]
    since: float
    restarts: int = 0
    last_error: str = ""


def write(path: Path, state: ForwardState) -> None:
    """Replace the file in one step: a reader sees the state before or this one."""
    write_private(path, json.dumps(asdict(state)).encode())


def read(path: Path) -> ForwardState | None:
    """The state in the file; None when there is none that can be read."""
    try:
        return ForwardState(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
