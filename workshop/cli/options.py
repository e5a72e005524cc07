"""Options that several commands share, each spelled once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from workshop.errors import UsageError

EnvFile = Annotated[
    Path | None,
    typer.Option("--env-file", help="Read settings from this file instead of `.env`.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Ports = Annotated[
    list[str] | None,
    typer.Option(
        "--port", metavar="NAME=PORT", help="Give a workload another port, such as github-remote=8088."
    ),
]
UpstreamChoice = Annotated[
    Literal["github", "practice"] | None,
    typer.Option(
        "--upstream",
        help="The real GitHub or the practice one; unset: GitHub if `.env` has its secret.",
        show_default=False,
    ),
]


def parse_ports(given: Sequence[str] | None) -> dict[str, int]:
    """`NAME=PORT` words as a mapping; raises UsageError for anything else."""
    ports = {}
    for word in given or ():
        name, _, port = word.partition("=")
        if not name or not port.isascii() or not port.isdigit():
            raise UsageError(f"`--port {word}` is not NAME=PORT", hint="Write `--port github-remote=8088`")
        ports[name] = int(port)
    return ports
