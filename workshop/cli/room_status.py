"""`workshop room status` and `room exec`: what a facilitator sees and does while a class works."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from shlex import quote
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from workshop.cli.groups import Commands
from workshop.cli.options import Json, Room, RoomContext
from workshop.cli.terminal import console, finish, running, serve
from workshop.core.errors import DeadlineError, UsageError
from workshop.core.result import Point, Result, Table, sentences

if TYPE_CHECKING:
    from workshop.course.lessons import Lesson
    from workshop.lab.room.execute import SeatHome
    from workshop.lab.room.status import RoomStatus

_Watch = Annotated[bool, typer.Option("--watch", help="Look again every few seconds, until Ctrl-C.")]
_Page = Annotated[bool, typer.Option("--page", help="Serve the same as a page, for a second screen.")]
_NoBrowser = Annotated[
    bool, typer.Option("--no-browser", help="With `--page`: print the address, do not open it.")
]
_Seat = Annotated[str, typer.Argument(metavar="SEAT", help="The seat, such as 07.", show_default=False)]
_Words = Annotated[
    list[str],
    typer.Argument(metavar="COMMAND", help="After `--`, such as `part 4 check`.", show_default=False),
]
_LOOK_SECONDS = 5.0
_REDRAW_SECONDS = 0.2  # a terminal that was resized is drawn anew as soon as this


def add_status(group: Commands) -> None:
    """Add `status` and `exec` to the commands of a room."""
    group.command("status")(status)
    group.command("exec")(execute)


def status(
    *,
    name: Room,
    context: RoomContext = None,
    watch: _Watch = False,
    page: _Page = False,
    no_browser: _NoBrowser = False,
    json: Json = False,
) -> None:
    """Show each seat: its person, part, checks, pods, and what is wrong, with the remedy."""
    from workshop.lab.room import record
    from workshop.lab.room.status import look

    if sum((watch, page, json)) > 1:
        raise UsageError("`--watch`, `--page` and `--json` exclude each other", hint="Choose one of them")
    with ExitStack() as stack:
        with running() as (_, runner):
            # The site outlives the progress, which would draw over the table or the page.
            site = stack.enter_context(record.open_site(name, context, runner))
        if page:
            _serve(name, lambda: look(site.kube, name), opens=not no_browser)
        elif watch:
            _watch(lambda: look(site.kube, name))
        else:
            finish(_result(look(site.kube, name)), as_json=json)


def execute(*, name: Room, seat: _Seat, words: _Words, context: RoomContext = None) -> None:
    """Run a command as a seat, for somebody who is stuck; its exit code is passed on.

    It has the seat's rights for an hour, a state directory of its own that is removed, and your files. Before
    `part N check`, it runs the part.
    """
    from workshop.lab.room import record
    from workshop.lab.room.execute import seat_home

    lesson = _lesson_of(words)
    found = lesson.deployment() if lesson else None
    with ExitStack() as stack:
        with running() as (_, runner):
            site = stack.enter_context(record.open_site(name, context, runner))
        # Outside the progress, because the command draws its own.
        home = stack.enter_context(seat_home(site, seat, [found] if found else [], console()))
        code = _run_first(lesson, home) if lesson and words[2:3] == ["check"] else 0
        code = code or home.run(["-m", "workshop", *words])
    raise typer.Exit(code)


def _lesson_of(words: Sequence[str]) -> "Lesson | None":
    """The part that a command is about."""
    from workshop.course.lessons import find_lessons

    named = words[1] if words[:1] == ["part"] and len(words) > 1 else ""
    return next((lesson for lesson in find_lessons() if str(lesson.number) == named), None)


def _run_first(lesson: "Lesson", home: "SeatHome") -> int:
    """Run a part by its own program, which applies no manifests, and record that it ran; its exit code."""
    from workshop.course.progress import ProgressFile

    approve = ["--approve-as", home.user] if home.user else []
    code = home.run([str(lesson.directory / "main.py"), *approve], quiet=True)
    if not code:
        with ProgressFile(console().warn, home.folder).change() as standing:
            standing.touch(lesson.key).ran = True
    return code


def show_plan(name: str, context: str | None, seats: int, *, yes: bool, json: bool) -> None:
    """Show what that many seats need, or all of the room with 0; raises PreflightError if they do not fit."""
    from workshop.course.lessons import find_lessons
    from workshop.lab.room import record
    from workshop.lab.room.sizing import plan

    parts = [found for lesson in find_lessons() if (found := lesson.deployment())]
    with (
        running() as (_, runner),
        record.open_site(name, context, runner, yes=yes) as site,
    ):
        seats = seats or record.read_room(site.kube, name).seats
        sizing = plan(site.kube, name, seats, parts)
    table = Table(("Resource", "A seat", "All seats", "Free", "Enough for"), sizing.rows)
    line = f"{seats} seats on {len(sizing.nodes)} nodes, which have space for {sizing.fits}"
    result = Result("room create", sizing.data, line, sizing.lines, table)
    if sizing.refusal and not json:
        console().render(result)
    if sizing.refusal:
        raise sizing.refusal
    there = f" --context {quote(context)}" if context else ""  # this machine records a room's at its creation
    finish(replace(result, next=f"`workshop room create {name} --seats {seats}{there}`"), as_json=json)


def _serve(name: str, look: "Callable[[], RoomStatus]", *, opens: bool) -> None:
    from workshop.core.ports import free_port
    from workshop.course.page.room import RoomPage

    look()  # a room that does not exist is an error here, not on the page
    serve(RoomPage(name, look, free_port()), "It is served until Ctrl-C.", opens=opens)


def _watch(look: "Callable[[], RoomStatus]") -> NoReturn:
    """Show the state again and again, until Ctrl-C; then the last one stays on the terminal."""
    result, note = replace(_result(look()), next=""), ""  # which would be this command
    try:
        with console().screen() as screen:
            screen.show(result)
            while True:
                screen.note(f"{note or f'{datetime.now().astimezone():%H:%M:%S}'}; Ctrl-C leaves")
                _pause(screen.refresh)
                try:
                    result, note = replace(_result(look()), next=""), ""
                # A cluster that is busy may answer the next time; any other error ends the watch.
                except DeadlineError as error:
                    note = f"{error.what}, so this is older"
                else:
                    screen.show(result)
    finally:
        if screen.redraws:
            console().render(result)


def _pause(idle: Callable[[], object]) -> None:
    until = time.monotonic() + _LOOK_SECONDS
    while time.monotonic() < until:
        time.sleep(_REDRAW_SECONDS)
        idle()


def _result(found: "RoomStatus") -> Result:
    from workshop.lab.room.status import ago

    wrong = [
        Point("✗", f"{label}: {problem.what}", [f"→ {problem.fix}"] if problem.fix else [])
        for label, problem in found.problems
    ]
    rows = [
        (
            each.seat,
            each.person,
            str(each.part or ""),
            str(each.passed or ""),
            ago(each.at),
            f"{each.ready} of {each.pods}",
            "✗" if each.problems else "",
        )
        for each in found.seats
    ]
    columns = ("Seat", "Person", "Part", "Checks", "Last sign", "Pods", "Wrong")
    lines = [f"{each.name}: {each.ready} of {each.pods} pods ready" for each in found.shared]
    again = f"`workshop room status {found.room} --watch`"
    points = [*sentences(lines), *wrong]
    return Result("room status", found, found.summary, table=Table(columns, rows), points=points, next=again)
