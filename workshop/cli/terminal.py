"""The console of this process, and how a command runs programs and ends."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from workshop.core.console import Console, Progress
from workshop.core.result import Result

if TYPE_CHECKING:
    from workshop.lab.tools.run import Runner


@functools.cache
def console() -> Console:
    """The one console of this process."""
    return Console()


@contextmanager
def running() -> Iterator[tuple[Progress, "Runner"]]:
    """Progress on the screen, and a runner of programs that shows there what `-v` asks for."""
    from workshop.course.environment import runner_for

    with console().progress() as progress:
        yield progress, runner_for(progress)


def finish(result: Result, *, as_json: bool = False) -> None:
    """Show a result and end with its exit code."""
    console().render(result, as_json=as_json)
    if result.exit_code:
        raise typer.Exit(result.exit_code)
