"""The record of what `up` started: one directory for each instance, one writer at a time."""

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from workshop.core.errors import DeadlineError, UsageError
from workshop.core.files import DamagedFileError, Port, read_state
from workshop.core.invocation import INSTANCE, given_as
from workshop.core.paths import locked, state_home, write_private
from workshop.core.text import unbroken

Upstream = Literal["github", "practice"]
UNNAMED = "default"
_VERSION = 1
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_OTHERS = frozenset({"crashes", "page", "rooms"})  # what else is in the state directory


def instance_name() -> str:
    """The name of this command's instance; raises UsageError for one that cannot name a folder safely."""
    name = os.environ.get(INSTANCE) or UNNAMED
    if not _NAME.fullmatch(name) or name in _OTHERS:
        raise UsageError(
            f"`{given_as('--instance', INSTANCE, unbroken(name)[:60])}` cannot name an instance",
            why="The workshop has a folder of that name itself" if name in _OTHERS else "",
            hint="Use up to 40 lower-case letters, digits and hyphens, such as `--instance second`",
        )
    return name


@dataclass(frozen=True)
class Record:
    """The choices of the last `up`; every later command repeats them."""

    backend: str
    upstream: Upstream
    ports: Mapping[str, Port] = field(default_factory=dict)
    endpoints: Mapping[str, str] = field(default_factory=dict)
    env_file: str = ""
    version: int = _VERSION


@dataclass(frozen=True)
class Instance:
    """A state directory and, once `up` has run, its record."""

    directory: Path
    record: Record | None
    lock_seconds: ClassVar[float] = 60
    """How long `lock` waits for another command: longer than most take, shorter than a person's patience."""

    @classmethod
    def load(cls) -> "Instance":
        """Read the instance; raises UsageError when its record is damaged."""
        directory = state_home() / instance_name()
        return cls(directory, _read(directory / "instance.json"))

    @classmethod
    def locate(cls) -> "Instance":
        """The instance without its record, so that it can be removed even if the record is damaged."""
        return cls(state_home() / instance_name(), None)

    @property
    def is_named(self) -> bool:
        """Whether a person named it, so that it runs beside others on ports of its own."""
        return self.directory.name != UNNAMED

    @property
    def logins(self) -> Path:
        """The folder of the agent's logins, with a file for each."""
        return self.directory / "logins"

    @property
    def upstream(self) -> Upstream | None:
        return self.record.upstream if self.record else None

    @property
    def endpoints(self) -> Mapping[str, str]:
        return self.record.endpoints if self.record else {}

    def save(self, record: Record) -> "Instance":
        """Write the record and return the instance with it."""
        text = json.dumps(asdict(record), indent=2, sort_keys=True)
        write_private(self.directory / "instance.json", text.encode())
        return Instance(self.directory, record)

    @contextlib.contextmanager
    def lock(self, *, needed: bool = True) -> Iterator[None]:
        """Lock the instance against other commands, see `locked`; `teardown` goes on without, to free a disk.

        Raises DeadlineError after `lock_seconds`.
        """
        # Beside the directory, because `teardown` removes the directory while it holds the lock.
        file = self.directory.parent / f"{self.directory.name}.lock"
        busy = DeadlineError(
            "Another `workshop` command is still running",
            why=f"It has held `{file}` for {self.lock_seconds:g} seconds",
            hint="Wait for it, or end it, and run this command again",
        )
        with locked(file, self.lock_seconds, busy, needed=needed):
            yield


def _read(path: Path) -> Record | None:
    try:
        record = read_state(Record, path)
    except DamagedFileError as error:
        raise _unusable(path, str(error)) from error
    if record is not None and record.version != _VERSION:
        raise _unusable(path, "Another version of `workshop` wrote it")
    return record


def _unusable(path: Path, why: str) -> UsageError:
    return UsageError(f"Cannot use the state in `{path}`", why=why, hint="`workshop teardown` clears it")
