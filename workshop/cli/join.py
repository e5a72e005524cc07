"""`workshop join`: use a seat of a room, which the facilitator has prepared."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workshop.cli.options import Json
from workshop.cli.terminal import console, finish, running
from workshop.core.errors import UsageError
from workshop.core.instance import Instance
from workshop.core.result import Result

if TYPE_CHECKING:
    from workshop.lab.room.seat_file import SeatFile

File = Annotated[
    Path | None, typer.Argument(metavar="SEAT-FILE", help="The file that the facilitator gave you.")
]
Leave = Annotated[bool, typer.Option("--leave", help="Forget the seat; after `workshop teardown`.")]


def join(*, file: File = None, leave: Leave = False, json: Json = False) -> None:
    """Take a seat in a room: `up` then runs the parts in the room's cluster; only kubectl is needed here."""
    from workshop.course.environment import backend_now
    from workshop.lab.room import join as room

    if leave == (file is not None):
        raise UsageError(
            "`workshop join` needs a seat file, or `--leave`", hint="For example `workshop join monday-07`"
        )
    instance = Instance.locate()
    with running() as (progress, runner), instance.lock():
        if file is None:
            left = room.leave(instance.directory, progress)
        else:
            if room.is_readable_by_others(file):
                console().warn(f"Others on this machine can read the token in `{file}`: `chmod 600 {file}`")
            with progress.step("Check the seat"):
                seat = room.join(file.absolute(), instance.directory, backend_now(), runner)
    if file is None:
        finish(Result("join", {"left": left}, "This instance has no seat any more"), as_json=json)
        return
    data = {
        # The key of the seat's record is a secret.
        **seat.about.model_dump(exclude={"practice": {"record_key"}}),
        "server": seat.server,
        "expires": seat.expires,
        "directory": str(instance.directory),
    }
    headline = f"You have seat {seat.about.seat} of room {seat.about.room}"
    finish(Result("join", data, headline, _lines(seat), next="`workshop up`"), as_json=json)


def _lines(seat: "SeatFile") -> list[str]:
    """What a person should know about their seat."""
    about = seat.about
    lines = [f"Namespace {about.namespace} at {seat.server}"]
    if about.practice:
        lines.append(f"Your practice user is {about.practice.user}")
    if seat.expires:
        lines.append(f"It works until {seat.expires.astimezone():%Y-%m-%d %H:%M}")
    lines.append("The facilitator sees which parts you ran and which checks passed, and nothing else")
    return [*lines, "WORKSHOP_SHARE_PROGRESS=0 turns that off"]
