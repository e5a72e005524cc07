"""`workshop logs`: the logs of the workloads."""

from typing import TYPE_CHECKING, Annotated

import typer

from workshop.cli.completion import complete_logs
from workshop.cli.options import EnvFile, Json
from workshop.cli.terminal import console, finish
from workshop.core.errors import UsageError
from workshop.core.result import Result

if TYPE_CHECKING:
    from workshop.course.logs import Written

Workload = Annotated[
    str | None,
    typer.Argument(
        metavar="[WORKLOAD]",
        help="This workload only, such as github-remote.",
        show_default=False,
        autocompletion=complete_logs,
    ),
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Follow the log until Ctrl-C.")]
Lines = Annotated[int, typer.Option("--lines", "-n", min=0, max=10_000, help="The last lines of each.")]


def logs(
    workload: Workload = None,
    *,
    follow: Follow = False,
    lines: Lines = 20,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """Show the last log lines of the workloads; secrets are hidden."""
    from workshop.course.logs import Logs

    if follow and json:
        raise UsageError("`--json` prints one document, but `--follow` has no end", hint="Omit one of them")
    found = Logs(workload, env_file)
    last = found.last(lines)
    if not follow:
        named = len(last) > 1
        shown = [line for written in last for line in _shown(written, named=named)]
        if not (shown or json):
            console().say("The logs are empty")
        again = f"`workshop logs {workload} --follow`" if workload else "`workshop logs --follow`"
        finish(Result("logs", {"logs": last}, lines=shown, next=again), as_json=json)
        return
    _print(last, named=len(last) > 1)
    for written in found.follow():
        _print([written], named=len(found.names) > 1)


def _print(found: "list[Written]", *, named: bool) -> None:
    for written in found:
        for line in _shown(written, named=named):
            console().out(line)


def _shown(written: "Written", *, named: bool) -> list[str]:
    return [f"{written.name} | {line}" if named else line for line in written.lines]
