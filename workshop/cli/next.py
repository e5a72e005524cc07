"""`workshop next`: your current part, and the one command to run."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from workshop.cli.terminal import console
from workshop.core.errors import WorkshopError
from workshop.core.result import Result, Table

if TYPE_CHECKING:
    from workshop.course.environment import StatusReport
    from workshop.course.next_step import NextStep, Row

Forget = Annotated[bool, typer.Option("--forget", help="Forget your progress; your files stay.")]


def show_next(*, forget: Forget = False) -> Result:
    """Show where you are, and the one command to run now."""
    from workshop.course.lessons import find_lessons
    from workshop.course.next_step import overview
    from workshop.course.progress import ProgressFile

    progress = ProgressFile(console().warn)
    if forget:
        line = "Your progress is forgotten" if progress.forget() else "There is no progress to forget"
        return Result("next", {"forgotten": True}, line, next="`workshop next`")
    step, rows = find_next(), overview(find_lessons(), progress.read())
    return Result(
        "next",
        {"step": step, "parts": rows},
        _headline(step, rows),
        table=_table(rows),
        next=next_command(step),
    )


def find_next(report: "StatusReport | None" = None) -> "NextStep":
    """The step that comes next, from the recorded progress and `report`, or what is up now."""
    from workshop.course.lessons import find_lessons
    from workshop.course.next_step import environment_now, next_step
    from workshop.course.progress import ProgressFile

    return next_step(find_lessons(), ProgressFile(console().warn).read(), environment_now(report))


def following(*, part: int | None = None) -> str:
    """The next step as a result shows it; `part`, once something is up, is run instead."""
    try:
        step = find_next()
    except WorkshopError:  # `workshop next` reports a damaged state; the result of this command stands
        return "`workshop next`"
    if part is not None and step.command != "workshop up":
        return f"`workshop part {part} run`"
    return next_command(step)


def _headline(step: "NextStep", rows: "Sequence[Row]") -> str:
    title = next((row.title for row in rows if row.part == step.part), "")
    return f"You are in part {step.part}, {title}. {step.why}" if step.part is not None else step.why


def next_command(step: "NextStep") -> str:
    """The command of a step as it is shown, with what may be done instead."""
    if not step.command:
        return ""
    return f"`{step.command}`" + (f", or go on with `{step.instead}`" if step.instead else "")


def _table(rows: "Sequence[Row]") -> Table:
    cells = [
        (
            str(row.part),
            row.title,
            *("✓" if done else "" for done in (row.read, row.ran, row.checked)),
            ", ".join(row.exercises),
        )
        for row in rows
    ]
    return Table(("part", "title", "read", "run", "checked", "exercises"), cells)
