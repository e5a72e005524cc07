"""The command tree: verbs at the top, and under `part` one group for each part that is found."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from workshop import __version__
from workshop.cli import (
    bundle,
    compare,
    connect,
    demo,
    doctor,
    help,  # noqa: A004 - the command's name; the builtin is not used here
    join,
    login,
    logs,
    next,  # noqa: A004 - the command's name; the builtin is not used here
    open,  # noqa: A004 - the command's name; the builtin is not used here
    part,
    probe,
    rehearse,
    room,
    serve,
    status,
    trace,
    up,
)
from workshop.cli.groups import Commands, RootGroup
from workshop.cli.terminal import console
from workshop.core.screen import WIDEST
from workshop.course.lessons import find_lessons

_HELP = "A tutorial on the Model Context Protocol in four parts."
_EXAMPLES = (
    "workshop up              start everything the parts need",
    "workshop part 1 show     read a lesson …",
    "workshop part 1 run      … run it …",
    "workshop part 1 check    … and check your work; then 2, 3, 4",
    "workshop next            show where you are and what to run now",
    "workshop teardown        stop everything",
    "workshop rehearse        all of it, unattended and checked",
    "workshop help            more: attending, running, clusters, exit codes, …",
)

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": WIDEST}


class _Root(RootGroup):
    headings: Mapping[str, Sequence[str]] = {
        "Environment": ("up", "join", "status", "logs", "teardown"),
        "Lessons": ("part", "next", "open", "trace", "connect", "disconnect", "bridge"),
        "Troubleshooting": ("doctor", "config", "report", "help"),
        "Security": ("login", "probe", "compare", "serve"),
        "For facilitators": ("rehearse", "demo", "bundle", "room"),
    }
    guesses: Mapping[str, str] = {
        "start": "up",
        "begin": "up",
        "stop": "teardown",
        "down": "teardown",
        "list": "part list",
        "parts": "part list",
        "ps": "status",
        "logout": "login revoke --all",
        "version": "--version",
    }


def build_tree() -> Any:  # noqa: ANN401 - Typer keeps its commands' types private
    """The whole command line as the tree that parses it, with the parts that exist now."""
    app = Commands(_HELP, _EXAMPLES, cls=_Root, context_settings=_CONTEXT)
    app.callback()(_options)
    app.add("up", up.up)
    app.add("join", join.join)
    app.add("status", status.status)
    app.add("logs", logs.logs)
    app.add("teardown", up.teardown)
    app.add_typer(part.build_group(find_lessons()), name="part")
    app.add("next", next.show_next)
    app.add("open", open.open_page)
    app.add_typer(trace.build_group(), name="trace")
    app.add("connect", connect.connect)
    app.add("disconnect", connect.disconnect)
    app.add("bridge", connect.bridge)
    app.add("doctor", doctor.doctor)
    app.add("config", doctor.config)
    app.add("report", doctor.report)
    app.add("help", help.show_help)
    app.add_typer(login.build_group(), name="login")
    app.add("probe", probe.probe)
    app.add("compare", compare.compare)
    app.add("serve", serve.serve)
    app.add("rehearse", rehearse.rehearse)
    app.add_typer(demo.build_group(), name="demo")
    app.add_typer(bundle.build_group(), name="bundle")
    app.add_typer(room.build_group(), name="room")
    return typer.main.get_command(app)


def _version(wanted: bool) -> None:  # noqa: FBT001 - Typer calls it so
    if wanted:
        console().out(f"workshop {__version__}")
        raise typer.Exit


def _options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version.",
            callback=_version,
            is_eager=True,
            expose_value=False,
        ),
    ] = False,
    instance: Annotated[
        str | None,
        typer.Option(
            "--instance",
            metavar="NAME",
            help="Act on this one of several instances; at any place in the command. Or WORKSHOP_INSTANCE.",
            expose_value=False,
            show_default=False,
        ),
    ] = None,
) -> None:
    """The options of `workshop` itself; `main` has taken `--instance` already, so it is here for the help."""
