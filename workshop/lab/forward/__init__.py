"""A supervised `kubectl port-forward`: one local port that stays, whatever happens to pods and to kubectl.

The supervisor itself listens on 127.0.0.1 and ::1, and passes each connection on to the port that kubectl
chose. kubectl ends or hangs with the pod that it forwards to. If kubectl were the listener, connections would
be refused until the next one runs, and another program could take the port meanwhile and receive tokens.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from workshop.core.errors import UsageError, reason
from workshop.core.files import DamagedFileError, Port, read_json, typed
from workshop.core.paths import write_private


@dataclass(frozen=True, kw_only=True)
class ForwardConfig:
    """The local port, the Service's port behind it, and the program that forwards it."""

    port: Port
    kubeconfig: str
    namespace: str
    target: str
    remote_port: Port
    state_file: str
    context: str = ""
    kubectl: str = "kubectl"

    @property
    def argv(self) -> tuple[str, ...]:
        """The kubectl command: it forwards a free port of its own choice, on 127.0.0.1 only."""
        context = (f"--context={self.context}",) if self.context else ()
        return (
            self.kubectl,
            *context,
            f"--namespace={self.namespace}",
            "port-forward",
            "--address=127.0.0.1",
            self.target,
            f":{self.remote_port}",
        )


def load(path: Path) -> ForwardConfig:
    """Read and check the JSON file; raises UsageError with the file and what is wrong in it."""
    try:
        return typed(ForwardConfig, read_json(path))
    except (OSError, DamagedFileError) as error:
        raise UsageError(f"Cannot use the forward's configuration {path}", why=reason(error)) from error


@dataclass(frozen=True)
class ForwardState:
    """Whether the forward is connected, since when, and its last error.

    `restarts` counts how often kubectl was started again; `since` is in seconds since the epoch.
    """

    state: Literal["connecting", "forwarding"]
    since: float
    restarts: int = 0
    last_error: str = ""


def write_state(path: Path, state: ForwardState) -> None:
    """Replace the file atomically: a reader gets the old state or the new one."""
    write_private(path, json.dumps(asdict(state)).encode())


def read_state(path: Path) -> ForwardState | None:
    """The state in the file; None if it is absent or damaged."""
    try:
        return typed(ForwardState, read_json(path))
    except (OSError, DamagedFileError):
        return None
