"""Shell completion of names that depend on the environment; empty if they cannot be read."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import typer

from workshop.core.errors import WorkshopError

if TYPE_CHECKING:
    from workshop.course.lessons import Lesson


def complete_logs(incomplete: str) -> list[str]:
    """The workloads that have a log."""
    from workshop.course import environment

    return _matching(incomplete, lambda: (log.name for log in environment.logs()))


def complete_endpoints(incomplete: str) -> list[str]:
    """The workloads that another client can connect to."""
    from workshop.course import connect

    return _matching(incomplete, connect.names)


def complete_demos(incomplete: str) -> list[str]:
    """The demos that come with the package."""
    from workshop.course.demo.script import names

    return _matching(incomplete, names)


def complete_exercises(ctx: typer.Context, incomplete: str) -> list[str]:
    """The exercises of the part or variation that the command line names."""
    from workshop.course.exercise import exercises_of
    from workshop.course.lessons import variation_of

    def numbers() -> Iterable[str]:
        name = ctx.params.get("variation")
        for lesson in _lesson(ctx):
            yield from (
                str(one.number) for one in exercises_of(variation_of(lesson, name) if name else lesson)
            )

    return _matching(incomplete, numbers)


def complete_variations(ctx: typer.Context, incomplete: str) -> list[str]:
    """The variations of the part that the command line names."""
    from workshop.course.lessons import variations_of

    return _matching(
        incomplete, lambda: (found.name for lesson in _lesson(ctx) for found in variations_of(lesson))
    )


def _lesson(ctx: typer.Context) -> "list[Lesson]":
    """The part that the command line names; empty if it names none that exists."""
    from workshop.course.lessons import find_lessons

    # The group of a part is named by its number.
    part = ctx.parent.info_name if ctx.parent else ""
    return [lesson for lesson in find_lessons() if str(lesson.number) == part]


def complete_systems(ctx: typer.Context, incomplete: str) -> list[str]:
    """The systems that can be compared: the part itself and its variations."""
    # `compare` names part 4 itself after its system.
    itself = [name for name in ("toolhive",) if name.startswith(incomplete)]
    return [*itself, *complete_variations(ctx, incomplete)]


def complete_logins(incomplete: str) -> list[str]:
    """The MCP servers with a stored login."""
    from workshop.agent.token_store import TokenStore
    from workshop.core.instance import Instance

    return _matching(
        incomplete,
        lambda: {login.resource for login in TokenStore(Instance.locate().directory / "logins").all()},
    )


def _matching(incomplete: str, look: Callable[[], Iterable[Any]]) -> list[str]:
    try:
        return [name for name in sorted(look()) if name.startswith(incomplete)]
    except WorkshopError:  # nothing is up, or the state is damaged: a completion cannot report it
        return []
