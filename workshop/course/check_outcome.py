"""What goes to the process that runs checks, what comes back, and what a check raises."""

import secrets
from dataclasses import dataclass, field
from typing import Literal

from workshop.core.errors import CheckError

State = Literal["passed", "failed", "not tried", "not applicable"]


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
