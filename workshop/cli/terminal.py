"""The console of this process, and how a command ends."""

import functools

import typer

from workshop.console import Console
from workshop.result import Result


@functools.cache
def console() -> Console:
    """The one console of this process."""
    return Console()


def finish(result: Result, *, as_json: bool = False) -> None:
    """Show a result and end with its exit code."""
    console().render(result, as_json=as_json)
    if result.exit_code:
        raise typer.Exit(result.exit_code)
