"""`workshop room`: a seat for each attendee on one cluster."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from workshop.cli.groups import EXAMPLES, Commands
from workshop.cli.options import (
    DryRun,
    EnvFile,
    Json,
    Overrides,
    Room,
    RoomContext,
    Timeout,
    Yes,
    parse_overrides,
)
from workshop.cli.room_status import add_status, show_plan
from workshop.cli.terminal import console, finish, running
from workshop.core.result import Result, Table

if TYPE_CHECKING:
    from workshop.lab.base import Limits
    from workshop.lab.room.create import CreateReport

_HELP = "Create, watch and remove a room, a seat for each attendee; see `help room`."

_Seats = Annotated[
    int | None,
    typer.Option("--seats", min=1, max=5000, metavar="N", help="How many seats.", show_default=False),
]
_People = Annotated[
    Path | None,
    typer.Option("--from", metavar="CSV", help="The names of the people, one per line.", show_default=False),
]
_To = Annotated[
    Path | None,
    typer.Option(
        "--to",
        metavar="PATH",
        help="A folder or a `.zip` for the seat files. Default: `NAME-seats` in this folder.",
        show_default=False,
    ),
]
_Cards = Annotated[
    Path | None,
    typer.Option(
        "--print-cards",
        metavar="FILE",
        help="Write a page with a card for each seat (.html or .txt), without secrets.",
        show_default=False,
    ),
]
_Hours = Annotated[
    int | None,
    typer.Option(
        "--hours", min=1, max=168, help="How long the tokens are valid. Default: 12.", show_default=False
    ),
]
_Upstream = Annotated[
    Literal["github", "practice"] | None,
    typer.Option(
        help="The real GitHub, through the OAuth app in `.env`, or the practice one. Default: that of the "
        "room if it exists, otherwise the practice one.",
        show_default=False,
    ),
]
_KeepOperator = Annotated[
    bool, typer.Option("--keep-operator", help="Leave ToolHive's operator on the cluster.")
]
_Plan = Annotated[
    bool,
    typer.Option(
        "--plan", help="Only show what that many seats need from the cluster, and whether they fit."
    ),
]
_SomeSeats = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SEAT…]", help="Seats such as 01. Default: all.", show_default=False),
]


def build_group() -> Commands:
    """The commands under `workshop room`."""
    group = Commands(_HELP, EXAMPLES["room"])
    group.command("create")(create)
    group.command("renew")(renew)
    group.command("remove")(remove)
    add_status(group)
    return group


def create(
    *,
    name: Room,
    seats: _Seats = None,
    people: _People = None,
    context: RoomContext = None,
    upstream: _Upstream = None,
    to: _To = None,
    print_cards: _Cards = None,
    hours: _Hours = None,
    env_file: EnvFile = None,
    override: Overrides = None,
    timeout: Timeout = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    plan: _Plan = False,
    json: Json = False,
) -> None:
    """Create a room, or what it lacks: the operator, the practice GitHub, the seats, and their files."""
    from workshop.core.settings import Settings
    from workshop.course.lessons import find_lessons
    from workshop.lab.room import create as creation
    from workshop.lab.room import handout, record
    from workshop.lab.room.objects import check_name

    options = creation.RoomOptions(
        seats, handout.read_people(people) if people else (), upstream, hours, yes, Settings.load(env_file)
    )
    if plan:
        show_plan(check_name(name), context, seats or len(options.people), yes=yes, json=json)
        return
    parts = [found for lesson in find_lessons() if (found := lesson.deployment())]
    files = handout.Handout(to or Path(f"{check_name(name)}-seats"), name)
    if dry_run:
        with running() as (_, runner):
            # A plan can be made before the cluster exists.
            site = record.unopened(name, context, runner, overrides=parse_overrides(override))
            lines = creation.plan_of(site, options, parts, files)
        finish(Result("room create", {"room": name, "commands": lines}, "", lines), as_json=json)
        return
    bounds, images = _limits(timeout), parse_overrides(override)
    with (
        running() as (progress, runner),
        record.open_site(name, context, runner, overrides=images, yes=yes, limits=bounds) as site,
    ):
        report = creation.create(site, options, parts, files, progress)
        if print_cards:
            handout.write_cards(print_cards, record.read_room(site.kube, name), files)
        only_here = record.only_here(site)
    if only_here:
        console().warn("The seat files work only here: the API server has an address of this machine")
    line = f"Room `{name}` has {len(report.seats)} seats; their secret files are in `{report.files}`"
    table = _table(report)
    finish(
        Result("room create", report, line, table=table, next=f"`workshop room status {name}`"), as_json=json
    )


def renew(
    *,
    name: Room,
    seats: _SomeSeats = None,
    context: RoomContext = None,
    to: _To = None,
    hours: _Hours = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Write new seat files with new tokens."""
    from workshop.lab.room import handout, record
    from workshop.lab.room.objects import check_name

    files = handout.Handout(to or Path(f"{check_name(name)}-seats"), name)
    with (
        running() as (progress, runner),
        record.open_site(name, context, runner, yes=yes) as site,
    ):
        made = handout.renew(site, seats or (), files, progress, hours)
    rows = [(seat, files.where(seat), str(file.expires or "")) for seat, file in made.items()]
    data = [{"seat": seat, "file": file, "until": until} for seat, file, until in rows]
    line = f"Wrote {len(rows)} seat files; whoever has one runs `workshop join` with it again"
    table = Table(("Seat", "File", "Token until"), rows)
    finish(Result("room renew", {"room": name, "seats": data}, line, table=table), as_json=json)


def remove(
    *,
    name: Room,
    context: RoomContext = None,
    keep_operator: _KeepOperator = False,
    timeout: Timeout = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Remove a room with everything in it, and nothing else."""
    from workshop.lab.room import record
    from workshop.lab.room import remove as removal

    bounds = _limits(timeout)
    with (
        running() as (progress, runner),
        record.open_site(name, context, runner, yes=yes, limits=bounds) as site,
    ):
        if dry_run:
            lines = removal.plan_of(site, keep_operator=keep_operator)
        else:
            report = removal.remove(site, progress, keep_operator=keep_operator)
    if dry_run:
        finish(Result("room remove", {"room": name, "commands": lines}, "", lines), as_json=json)
        return
    spaces = report.namespaces
    line = f"Removed room `{name}`: {len(spaces)} namespaces, {len(report.objects)} objects of ToolHive"
    lines = [f"Also removed: {', '.join(report.operator)}"] if report.operator else []
    stays = "definitions (CRDs)" if report.operator else "operator and definitions (CRDs)"
    lines.append(f"ToolHive's {stays} stay, because others may use them; see `kubectl get crd`")
    if not spaces:
        line, lines = f"There is no room `{name}` on this cluster", []
    finish(Result("room remove", report, line, lines), as_json=json)


def _table(report: "CreateReport") -> Table:
    rows = [(one.seat, one.person, one.namespace, str(one.made), one.file, one.until) for one in report.seats]
    return Table(("Seat", "Person", "Namespace", "Made now", "File", "Token until"), rows)


def _limits(seconds: float | None) -> "Limits":
    from workshop.lab.base import ClusterChoices

    return ClusterChoices(seconds=seconds).bounds
