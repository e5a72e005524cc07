"""The command tree: verbs at the top, and under `part` one group for each part that is found."""

from typing import Annotated, Any

import typer

from workshop import __version__
from workshop.cli import (
    bundle,
    config,
    connect,
    demo,
    doctor,
    help,  # noqa: A004 - the command's name; the builtin is not used here
    login,
    logs,
    next,  # noqa: A004 - the command's name; the builtin is not used here
    part,
    probe,
    rehearse,
    report,
    status,
    teardown,
    trace,
    up,
)
from workshop.cli.everywhere import NoInput, Quiet, Verbose, spread
from workshop.cli.examples import add_examples
from workshop.cli.groups import HeadedGroup
from workshop.cli.terminal import console
from workshop.course.find import find_lessons

_HELP = """A tutorial on the Model Context Protocol in four parts.

\b
workshop up              start everything the parts need
workshop part 1 show     read a lesson …
workshop part 1 run      … run it …
workshop part 1 check    … and see what holds; then 2, 3, 4
workshop next            where you are, and what to run now
workshop teardown        stop everything
workshop rehearse        all of it, unattended and checked
workshop help            more: attending, running, clusters, exit codes, …
"""
_ORDER = (
    *("up", "status", "logs", "teardown"),
    *("part", "next", "trace", "connect", "disconnect"),
    *("doctor", "config", "report", "help"),
    *("login", "probe"),
    *("rehearse", "demo", "bundle"),
)


def build_tree() -> Any:  # noqa: ANN401 - Typer keeps its commands' types private
    """The whole command line as the tree that parses it."""
    tree: Any = typer.main.get_command(build_app())
    tree.commands = {name: tree.commands[name] for name in _ORDER}
    add_examples(tree)
    spread(tree)
    return tree


def build_app() -> typer.Typer:
    """The whole command line, with the parts that are there now."""
    app = typer.Typer(
        cls=HeadedGroup,
        help=_HELP,
        context_settings={"help_option_names": ["-h", "--help"]},
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_options)
    app.command("up", rich_help_panel="The room")(up.up)
    app.add_typer(part.build_group(find_lessons()), name="part", rich_help_panel="The lessons")
    app.command("next", rich_help_panel="The lessons")(next.show_next)
    app.command("status", rich_help_panel="The room")(status.status)
    app.command("logs", rich_help_panel="The room")(logs.logs)
    app.command("teardown", rich_help_panel="The room")(teardown.teardown)
    app.command("doctor", rich_help_panel="When something is wrong")(doctor.doctor)
    app.command("config", rich_help_panel="When something is wrong")(config.config)
    app.command("report", rich_help_panel="When something is wrong")(report.report)
    app.command("help", rich_help_panel="When something is wrong")(help.show_help)
    app.command("connect", rich_help_panel="The lessons")(connect.connect)
    app.command("disconnect", rich_help_panel="The lessons")(connect.disconnect)
    app.add_typer(trace.build_group(), name="trace", rich_help_panel="The lessons")
    app.add_typer(login.build_group(), name="login", rich_help_panel="Security")
    app.command("probe", rich_help_panel="Security")(probe.probe)
    app.add_typer(demo.build_group(), name="demo", rich_help_panel="For facilitators")
    app.add_typer(bundle.build_group(), name="bundle", rich_help_panel="For facilitators")
    app.command("rehearse", rich_help_panel="For facilitators")(rehearse.rehearse)
    return app


def _version(wanted: bool) -> None:  # noqa: FBT001 - Typer calls it so
    if wanted:
        console().out(f"workshop {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
]


def _options(
    *, version: Version = False, verbose: Verbose = 0, quiet: Quiet = 0, no_input: NoInput = False
) -> None:
    pass  # each has acted by now
