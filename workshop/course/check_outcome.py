"""What goes to the process that runs checks, what comes back, and what a page shows of it."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from workshop.core.errors import CheckError
from workshop.core.files import DamagedFileError, read_json, typed
from workshop.core.paths import state_home, write_private
from workshop.core.redaction import known_secrets, without_secrets
from workshop.recorder.live import is_page_open

State = Literal["passed", "failed", "not tried", "not applicable"]
MARKS: dict[State, str] = {"passed": "✓", "failed": "✗", "not tried": "·", "not applicable": "○"}


class NotPassedError(Exception):
    """The check's sentence is not true; the message is the reason, `hint` the first one for it."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


class NotUpError(CheckError):
    """What the check needs is not up."""


class NotApplicableError(Exception):
    """The check cannot be made in this environment; the message is the reason."""


@dataclass(frozen=True)
class Job:
    """Which checks to run, and on what.

    `works` maps an exercise's number, as text, to the learner's file; `states` maps the name of each check
    that already has an outcome to its state; `only` is the one exercise to check, or None for all.
    """

    directory: str
    scratch: str
    ran: bool
    works: dict[str, str]
    only: int | None = None
    states: dict[str, State] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """The outcome of one check: the sentence that it proves, and the reason why it has not passed."""

    name: str
    sentence: str
    exercise: int | None
    state: State
    reason: str = ""
    hints: tuple[str, ...] = ()
    seconds: float = 0
    missing: bool = False
    """Whether it could not be made because what it needs is not up."""


def expect(holds: object, otherwise: str, hint: str = "") -> None:
    """Raise NotPassedError with the reason `otherwise` unless `holds` is true.

    A `hint` that belongs to this reason is given before the check's other ones.
    """
    if not holds:
        raise NotPassedError(otherwise, hint)


def random_number() -> int:
    """A random number of three digits, so that a program cannot contain the result beforehand."""
    return 100 + secrets.randbelow(900)


def outcomes_file(key: str) -> Path:
    """The file of a lesson (see `Lesson.key`); it exists only while a page is open."""
    return state_home() / "page" / f"checks-{key}.json"


def show_outcomes(key: str, outcomes: Sequence[Outcome]) -> None:
    """Let an open page show these outcomes, without their hints: those are given one at a time."""
    if is_page_open():
        # A page may be on a projector.
        hidden = known_secrets(None)
        shown = [replace(one, hints=(), reason=without_secrets(one.reason, hidden)) for one in outcomes]
        write_private(outcomes_file(key), json.dumps([asdict(one) for one in shown]).encode())


def last_outcomes(key: str) -> Sequence[Outcome]:
    """The outcomes of the last check; none if there is no file that can be used."""
    try:
        return [typed(Outcome, one) for one in read_json(outcomes_file(key))]
    except (OSError, DamagedFileError, TypeError):
        return ()
