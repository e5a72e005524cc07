"""`workshop rehearse`: all parts, unattended and checked."""

from typing import Annotated

import typer

from workshop.cli.options import Backend, Json, Ports, parse_ports
from workshop.cli.terminal import console, finish
from workshop.core.errors import WorkshopError
from workshop.core.result import Result, Table

Keep = Annotated[bool, typer.Option("--keep", help="Leave everything up afterwards.")]


def rehearse(*, backend: Backend = None, keep: Keep = False, port: Ports = None, json: Json = False) -> None:
    """Set up, run and check every part without a person, then tear down.

    It uses the backend that is up, otherwise the embedded one, unless `--backend` names another. On a
    terminal, each step is one line; `-v` shows all that it prints.
    """
    from workshop.course.lessons import find_lessons
    from workshop.course.rehearse import Rehearsal, is_watched

    outcomes = Rehearsal(find_lessons(), console()).run(ports=parse_ports(port), keep=keep, backend=backend)
    held = all(outcome.held for outcome in outcomes)
    rows = [("✓" if step.held else "✗", step.name, f"{step.seconds:.1f} s", step.shown) for step in outcomes]
    watched = is_watched(console())  # then each step has had its line
    failed = sum(not outcome.held for outcome in outcomes)
    result = Result(
        "rehearse",
        {"held": held, "steps": outcomes},
        f"{len(rows) - failed} of {len(rows)} steps hold" if watched else "",
        table=None if watched else Table(("", "step", "time", "result"), rows),
        next="`workshop up`" if held and not keep else "",
        exit_code=0 if held else WorkshopError.exit_code,
    )
    finish(result, as_json=json)
