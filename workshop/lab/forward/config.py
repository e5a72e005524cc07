"""The configuration file of one forward, checked before anything starts."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from workshop.core.errors import UsageError
from workshop.core.paths import write_private
from workshop.core.state_file import DamagedFileError, read_json, typed

_PORTS = range(1, 1 << 16)


@dataclass(frozen=True, kw_only=True)
class ForwardConfig:
    """The local port, the Service's port behind it, and the path at which the Service reports its health."""

    port: int
    kubeconfig: str
    namespace: str
    target: str
    remote_port: int
    state_file: str
    context: str = ""
    kubectl: str = "kubectl"
    health_path: str = "/health"
    env: Mapping[str, str] = field(default_factory=dict)

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
        raw = read_json(path)
    except (OSError, DamagedFileError) as error:
        raise _broken(path, str(error)) from error
    if not isinstance(raw, dict):
        raise _broken(path, "not a JSON object")
    return _config(path, raw)


def _config(path: Path, raw: Mapping[str, Any]) -> ForwardConfig:
    kinds = {item.name: item.type for item in fields(ForwardConfig)}
    if unknown := ", ".join(sorted(raw.keys() - kinds.keys())):
        raise _broken(path, f"unknown: {unknown}")
    for name, value in raw.items():
        if kinds[name] is int and (type(value) is not int or value not in _PORTS):
            raise _broken(path, f"`{name}` must be a port between 1 and 65535, not {value!r}")
        if kinds[name] is str and not isinstance(value, str):
            raise _broken(path, f"`{name}` must be text, not {value!r}")
    if not isinstance(raw.get("env", {}), dict):
        raise _broken(path, "`env` must be an object")
    try:
        return ForwardConfig(**raw)
    except TypeError as error:
        raise _broken(path, str(error).partition("() ")[2]) from error


def _broken(path: Path, why: str) -> UsageError:
    return UsageError(f"Cannot use the forward's configuration {path}", why=why)


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
