"""`workshop serve NAME`: a variation's server for real, from one configuration file."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from workshop.cli.completion import complete_variations
from workshop.cli.options import Json
from workshop.core.errors import UsageError

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
        help="TOML, as *Use it for real* in its README has it.",
        show_default=False,
    ),
]
Status = Annotated[
    bool,
    typer.Option("--status", help="Show the registered servers of the one that runs: prefix-gateway only."),
]
_REPORTING = "prefix-gateway"


def serve(name: Name, *, config: Config = None, status: Status = False, json: Json = False) -> None:
    """Run the server of a variation for real, with your own configuration, until Ctrl-C."""
    from workshop.course.lessons import find_variation
    from workshop.course.variation_run import serve_command

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
    argv = serve_command(find_variation(name), config, *words)
    sys.stdout.flush()
    # In place of this process, so that a container's signals and a supervisor's arrive at the server.
    os.execv(argv[0], argv)  # noqa: S606 - not a shell
