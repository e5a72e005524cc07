"""`workshop part 4 variations`, `--variation` and `workshop serve`: other ways to do part 4."""

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workshop.cli.audit import add_compare
from workshop.cli.options import DryRun, Json, complete_variations
from workshop.cli.terminal import console
from workshop.core.errors import UsageError
from workshop.core.result import Result, Table
from workshop.course.lessons import Lesson, Variation, has_variations, variation_of, variations_of

if TYPE_CHECKING:
    from workshop.agent.run import RunOptions

VariationName = Annotated[
    str | None,
    typer.Option(
        "--variation",
        metavar="NAME",
        help="Another way to do part 4: `part 4 variations`.",
        show_default=False,
        autocompletion=complete_variations,
    ),
]
Weak = Annotated[
    bool, typer.Option("--weak", help="The weak edition, to find and fix its gaps: worker only.")
]
Cleanup = Annotated[bool, typer.Option("--cleanup", help="Remove what was set up, in reverse order.")]
Stop = Annotated[
    bool, typer.Option("--stop", help="Stop the variations that run, but not what `up` started.")
]
_SET_UP = "elicitation"
_WEAK_HINT = "The worker has one: `workshop part 4 run --variation worker --weak`"


def lesson_or_variation(lesson: Lesson, name: str | None) -> Lesson:
    """The lesson itself, or its variation of this name; raises UsageError if it does not exist."""
    return variation_of(lesson, name) if name is not None else lesson


def variation_name(lesson: Lesson) -> str | None:
    """The variation's name in the JSON output, or None for the part itself."""
    return lesson.name if isinstance(lesson, Variation) else None


def ask(lesson: Lesson, options: "RunOptions", *, weak: bool) -> tuple[str, Sequence[str]]:
    """The agent's answer, and the lines to show below it."""
    from workshop.course.run import run_lesson, run_variation, token_swap_lines

    if not isinstance(lesson, Variation):
        if weak:
            raise UsageError("`--weak` is for a variation", hint=_WEAK_HINT)
        began = datetime.now(UTC)
        return run_lesson(lesson, options, console()), token_swap_lines(lesson, began)
    if weak and not lesson.has_editions:
        raise UsageError(
            f"The {lesson.label} has no weak edition",
            hint=_WEAK_HINT,
        )
    answer, running = run_variation(lesson, options, console(), weak=weak)
    warning = [f"This is the weak edition: `workshop probe {running.url}` finds its gaps"] if weak else []
    return answer, [f"Answered by {running.url}", *warning]


def add_variations(group: typer.Typer, lesson: Lesson) -> None:
    """Add the commands that only a part with variations has."""
    if not has_variations(lesson):
        return

    @group.command("variations")
    def variations(*, stop: Stop = False) -> Result:
        """List the other ways to do this part, or stop those that run."""
        return _stopped() if stop else _listed(lesson)

    @group.command("construct")
    def construct(*, cleanup: Cleanup = False, dry_run: DryRun = False) -> Result:
        """Set up the variation elicitation step by step, or remove it."""
        return _constructed(lesson, cleanup=cleanup, dry_run=dry_run)

    add_compare(group, lesson)


def _listed(lesson: Lesson) -> Result:
    from workshop.course.variation_run import programs_of

    data, rows = [], []
    for found in variations_of(lesson):
        url = programs_of(found).endpoints().get(found.name)
        described = found.contents
        data.append({"name": found.name, "title": described.title, "summary": described.summary, "url": url})
        rows.append((found.name, described.summary, url or ""))
    table = Table(("variation", "what it is", "running at"), rows)
    listing = {"part": lesson.number, "variations": data}
    first = rows[0][0] if rows else ""
    return Result(
        "part variations", listing, table=table, next=f"`{lesson.command('run')} --variation {first}`"
    )


def _stopped() -> Result:
    from workshop.course.environment import stop_variations

    with console().progress() as progress:
        stopped = stop_variations(progress)
    line = f"Stopped {', '.join(stopped)}" if stopped else "No variation was running"
    return Result("part variations", {"stopped": list(stopped)}, line)


def _constructed(lesson: Lesson, *, cleanup: bool, dry_run: bool) -> Result:
    from workshop.course.variation_run import construct

    variation = variation_of(lesson, _SET_UP)
    with console().progress() as progress:
        lines = construct(variation, progress, cleanup=cleanup, dry_run=dry_run)
    done = "Removed what was set up" if lines else "Nothing was set up"
    headline = "Nothing was changed" if dry_run else done if cleanup else "It is set up"
    following = lesson.command("construct") if cleanup or dry_run else variation.command("run")
    return Result(
        "part construct", {"cleanup": cleanup, "steps": lines}, headline, lines, next=f"`{following}`"
    )


Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="A variation: `part 4 variations`.", autocompletion=complete_variations
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="A TOML file; *Use it for real* in the variation's README shows one.",
        show_default=False,
    ),
]
Status = Annotated[
    bool,
    typer.Option("--status", help="Show the servers behind the gateway that runs (prefix-gateway only)."),
]
_REPORTING = "prefix-gateway"


def serve(name: Name, *, config: Config = None, status: Status = False, json: Json = False) -> None:
    """Run a variation's server with your own configuration, until Ctrl-C."""
    from workshop.course.lessons import find_variation
    from workshop.course.variation_run import serve_command

    variation = find_variation(name)
    if status and name != _REPORTING:
        raise UsageError(
            f"`{name}` has no registered servers",
            hint="The prefix-gateway reports them: `workshop serve prefix-gateway --status`",
        )
    if json and not status:
        raise UsageError("`--json` is for `--status`", hint='A server logs JSON with `log = "json"` in FILE')
    if config is None and not status:
        raise UsageError("A server needs a configuration", hint=f"`workshop serve {name} --config FILE`")
    words = ["--status"] * status + ["--json"] * json
    argv = serve_command(variation, config, *words)
    # `execv` drops what Python has not written yet.
    sys.stdout.flush()
    # The server replaces this process, so that a container's signals and a supervisor's arrive at the server.
    os.execv(argv[0], argv)  # noqa: S606 - not a shell
