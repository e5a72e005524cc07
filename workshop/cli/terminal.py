"""What commands share: the console, a runner of programs, a question, the exit code, and serving a page."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from workshop.core.console import Console, Progress
from workshop.core.errors import UsageError
from workshop.core.invocation import again
from workshop.core.result import Result
from workshop.core.text import yes_or_no

if TYPE_CHECKING:
    from workshop.course.page.server import PageServer
    from workshop.lab.tools.run import Runner


@functools.cache
def console() -> Console:
    """The one console of this process."""
    return Console()


@contextmanager
def running() -> Iterator[tuple[Progress, "Runner"]]:
    """The progress display, and a runner that shows in it the programs it runs, depending on `-v`."""
    from workshop.lab.tools.run import runner_for

    with console().progress() as progress:
        yield progress, runner_for(progress)


def agreed(question: str, *, yes: bool) -> bool:
    """Whether a person agrees; `yes` skips the question. Raises UsageError without a terminal."""
    if yes:
        return True
    if not console().can_ask:
        raise UsageError(
            "This needs an answer, and there is no terminal to ask at",
            why=question,
            hint=f"{again('--yes')} goes ahead without asking",
        )
    while True:
        # On stderr: stdout may be a pipe, and the question is not data.
        typed = typer.prompt(f"{question} [y/N]", default="", show_default=False, err=True)
        if (answer := yes_or_no(typed)) is not None:
            return answer
        console().tell("Answer y for yes or n for no")


def finish(result: Result, *, as_json: bool = False) -> None:
    """Show a result and end with its exit code."""
    console().render(result, as_json=as_json)
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def serve(page: "PageServer", note: str, *, opens: bool) -> None:
    """Show the address of a page, and serve it until Ctrl-C."""
    from workshop.agent.approval import OpenBrowser
    from workshop.core.interrupts import interrupts

    async def ready() -> None:
        # The port is bound by now, so a browser that opens at once gets its answer.
        console().out(page.url)
        console().say(note)
        if opens:
            await OpenBrowser().start(page.url)

    interrupts.run(page.serve(ready))
