"""What a part's `checks.py` is written with: a check is a function, its docstring the sentence it proves.

    @check(hints=("Where to look", "What to do there"), seconds=15)
    async def it_answers(subject: Subject) -> None:
        \"\"\"The endpoint answers.\"\"\"
        expect(await asked(subject.endpoint("workshop")), "It said nothing")

A check passes when it returns. It may be async or not; it runs in a process of its own, which is ended when
`seconds` are over. `retries` is for what only needs a moment longer, such as a server that has just started.
"""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import ModuleType

from workshop.core.errors import WorkshopError
from workshop.course.check_script import Script
from workshop.course.check_subject import NotApplicableError, NotPassedError, Subject, expect, random_number

__all__ = [
    "Check",
    "NotApplicableError",
    "NotPassedError",
    "Script",
    "Subject",
    "WorkshopError",
    "check",
    "checks_of",
    "expect",
    "random_number",
]

Act = Callable[[Subject], Awaitable[None] | None]
_ATTRIBUTE = "workshop_check"


@dataclass(frozen=True)
class Check:
    """One check: its name, its sentence, what it does, and how it may be tried."""

    name: str
    says: str
    act: Act
    hints: tuple[str, ...] = ()
    seconds: float = 10
    retries: int = 0
    needs: tuple[str, ...] = ()
    exercise: int | None = None


def check(
    *,
    hints: tuple[str, ...],
    seconds: float = 10,
    retries: int = 0,
    needs: tuple[Act, ...] = (),
    exercise: int | None = None,
) -> Callable[[Act], Act]:
    """Declare a check; it is not tried while one that it `needs` has not passed.

    With `exercise`, it judges the learner's file of that exercise, and only once it is begun.
    """

    def declared(act: Act) -> Act:
        says = (inspect.getdoc(act) or "").splitlines()[0].removesuffix(".")
        wanted = tuple(getattr(other, "__name__", "") for other in needs)
        found = Check(getattr(act, "__name__", ""), says, act, hints, seconds, retries, wanted, exercise)
        setattr(act, _ATTRIBUTE, found)
        return act

    return declared


def checks_of(module: ModuleType) -> tuple[Check, ...]:
    """The checks that a module declares, in the order they are written."""
    found = (getattr(value, _ATTRIBUTE, None) for value in vars(module).values())
    return tuple(value for value in found if isinstance(value, Check))
