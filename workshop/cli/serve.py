"""`workshop serve NAME`: a variation's server for real, from one configuration file."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from workshop.cli.completion import complete_variations

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="A variation: `part 4 variations`.", autocompletion=complete_variations
    ),
]
Config = Annotated[
    Path, typer.Option("--config", metavar="FILE", help="TOML, as *Use it for real* in its README has it.")
]


def serve(name: Name, *, config: Config) -> None:
    """Run the server of a variation for real, with your own configuration, until Ctrl-C."""
    from workshop.course.lessons import find_variation
    from workshop.course.variation_run import serve_command

    argv = serve_command(find_variation(name), config)
    sys.stdout.flush()
    # In place of this process, so that a container's signals and a supervisor's arrive at the server.
    os.execv(argv[0], argv)  # noqa: S606 - not a shell
