"""`workshop report`: a file for somebody who helps."""

from pathlib import Path
from typing import Annotated

import typer

from workshop.cli.doctor import examined
from workshop.cli.options import EnvFile, Json
from workshop.cli.terminal import console, finish
from workshop.core.result import Result

Target = Annotated[Path, typer.Argument(metavar="FILE", help="The zip file to write.")]


def report(
    file: Target = Path("workshop-report.zip"), *, env_file: EnvFile = None, json: Json = False
) -> None:
    """Write a zip file with versions, findings, settings and logs, and without any secret."""
    from workshop.course.report import write_report

    with console().progress() as progress, progress.step("Gather what a helper needs"):
        names = write_report(file.absolute(), examined(env_file), env_file)
    finish(
        Result(
            "report",
            {"file": str(file), "contents": names},
            f"Wrote {file}: {', '.join(names)}",
            next="look into it before you send it; secrets, tokens, your home folder and host name are out",
        ),
        as_json=json,
    )
