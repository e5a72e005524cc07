"""A learner's progress on disk: what was shown, run, passed and begun, and how many hints were given.

It is beside the instances, not in one, because it must survive `teardown`.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from workshop.core.errors import DeadlineError, reason
from workshop.core.files import DamagedFileError, read_json, typed
from workshop.core.instance import Instance
from workshop.core.paths import current_dir, locked, state_home, write_private
from workshop.lab.base import CLUSTER_FILE

Warn = Callable[[str], None]
_VERSION = 1
_LOCK_SECONDS = 10


@dataclass
class ExerciseStanding:
    """One exercise: whether the learner passed it, or asked for the solution."""

    passed: bool = False
    solved: bool = False


@dataclass
class PartStanding:
    """One part; `touched` is when it was last worked on, in seconds since the epoch."""

    shown: bool = False
    ran: bool = False
    passed: bool = False
    touched: float = 0
    exercises: dict[str, ExerciseStanding] = field(default_factory=dict)
    hints: dict[str, int] = field(default_factory=dict)

    def exercise(self, number: int) -> ExerciseStanding:
        """The standing of one exercise."""
        return self.exercises.setdefault(str(number), ExerciseStanding())


@dataclass
class Standing:
    """All parts and variations by their key (see `Lesson.key`), and the folder the exercises are in."""

    parts: dict[str, PartStanding] = field(default_factory=dict)
    folder: str = ""

    def part(self, key: int | str) -> PartStanding:
        """The standing of one part or variation."""
        return self.parts.setdefault(str(key), PartStanding())

    def touch(self, key: int | str) -> PartStanding:
        """The same, marked as the one worked on last."""
        part = self.part(key)
        part.touched = time.time()
        return part


class ProgressFile:
    """The file with a learner's standing; a damaged one is moved aside, with a warning."""

    def __init__(self, warn: Warn, home: Path | None = None) -> None:
        self._warn = warn
        self._path = (home or state_home()) / "progress.json"

    def read(self) -> Standing:
        """The current standing; an empty one at first."""
        try:
            return _parsed(read_json(self._path))
        except FileNotFoundError:
            return Standing()
        except (OSError, DamagedFileError) as error:
            self._move_aside(error)
            return Standing()

    @contextlib.contextmanager
    def change(self) -> Iterator[Standing]:
        """The standing, written when the block ends; if the disk refuses, that is a warning, not an error."""
        with self._lock():
            standing = self.read()
            yield standing
            text = json.dumps({"version": _VERSION, **asdict(standing)}, indent=2)
            try:
                write_private(self._path, text.encode())
            except OSError as error:
                self._warn(f"Your progress cannot be saved in `{self._path}`: {reason(error)}")

    def forget(self) -> bool:
        """Remove it; False when there was none."""
        with self._lock():
            there = self._path.exists()
            self._path.unlink(missing_ok=True)
            return there

    # Not deleted: somebody may want to mend it by hand.
    def _move_aside(self, error: Exception) -> None:
        aside = self._path.with_name("progress.damaged.json")
        with contextlib.suppress(OSError):
            self._path.replace(aside)
            unread = f"Your progress could not be read ({reason(error)})"
            self._warn(f"{unread}, so it starts again; the old file is `{aside}`")

    def _lock(self) -> contextlib.AbstractContextManager[None]:
        busy = DeadlineError(
            "Another `workshop` command is writing your progress", hint="Run this command again"
        )
        # What cannot be locked cannot be written either; `change` warns of it.
        return locked(self._path.with_suffix(".lock"), _LOCK_SECONDS, busy, needed=False)


def _parsed(data: object) -> Standing:
    if not isinstance(data, dict):
        raise DamagedFileError("It is not a JSON object")
    if data.pop("version", None) != _VERSION:
        raise DamagedFileError("Another version of `workshop` wrote it")
    standing = typed(Standing, data)
    # `typed` fills in what is absent, and the next `change` would write that over a damaged file.
    if asdict(standing) != data:
        raise DamagedFileError("Something is missing in it")
    return standing


def exercise_folder(standing: Standing) -> Path:
    """The folder of the learner's files: the one here, else where they were begun, else a new one here.

    It is never inside `parts/`: those of an installed wheel cannot be written, and in a checkout
    `git pull` would collide with the learner's work. `teardown` does not touch it.
    """
    here = (current_dir() or Path()) / "workshop-exercises"
    before = Path(standing.folder) if standing.folder else here
    return before if before.is_dir() and not here.is_dir() else here


def share_progress(part: int = 0, passed: Iterable[str] | None = None) -> None:
    """Let the facilitator of a room see that a part was run, or which of its checks `passed`."""
    directory = Instance.locate().directory
    if (directory / CLUSTER_FILE).exists():  # otherwise the packages for a cluster need not be loaded
        from workshop.lab.room.progress import share

        share(directory, part, passed)
