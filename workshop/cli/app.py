"""The command tree, with one group under `part` for each part that is found; and `workshop help`."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from workshop import __version__
from workshop.cli import (
    audit,
    connect,
    doctor,
    environment,
    facilitator,
    login,
    next,  # noqa: A004 - the command's name; the builtin is not used here
    part,
    room,
    variation,
)
from workshop.cli.groups import Commands, RootGroup
from workshop.cli.terminal import console
from workshop.core.errors import UsageError
from workshop.core.result import Result, Table
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
_GUESSES = {
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
_TOPICS = Path(__file__).parent / "topics"


def build_tree(given: Sequence[str] = ()) -> Any:  # noqa: ANN401 - Typer keeps its commands' types private
    """The whole command line as the tree that parses it, with the parts that exist now.

    If `given` begins with a command, the tree has no other: only the help and a guess need all of them.
    """
    tree = _commands()
    # To make every command is a fifth of the start of `status`.
    names = {name for commands in tree.values() for name in commands}
    wanted = names & set(given[:1]) - {"help"} or names

    # Typer takes a class, so the headings are attributes of one that is made for this tree.
    class Root(RootGroup):
        headings = tree
        guesses = _GUESSES

    app = Commands(_HELP, _EXAMPLES, cls=Root, context_settings=_CONTEXT)
    app.callback()(_options)
    for commands in tree.values():
        for name, command in commands.items():
            if name in wanted:
                app.add(name, command)
    return typer.main.get_command(app)


def _commands() -> dict[str, dict[str, Any]]:
    """Every command and group of commands, by its heading in the help and its name."""
    return {
        "Environment": {
            "up": environment.up,
            "join": environment.join,
            "status": environment.status,
            "logs": environment.logs,
            "teardown": environment.teardown,
        },
        "Lessons": {
            "part": part.build_group(find_lessons()),
            "next": next.show_next,
            "open": part.open_page,
            "trace": part.trace_group(),
            "connect": connect.connect,
            "disconnect": connect.disconnect,
            "bridge": connect.bridge,
        },
        "Troubleshooting": {
            "doctor": doctor.doctor,
            "config": doctor.config,
            "report": doctor.report,
            "help": show_help,
        },
        "Security": {
            "login": login.build_group(),
            "probe": audit.probe,
            "compare": audit.compare,
            "serve": variation.serve,
        },
        "For facilitators": {
            "rehearse": facilitator.rehearse,
            "demo": facilitator.demo_group(),
            "bundle": facilitator.bundle_group(),
            "room": room.build_group(),
        },
    }


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
            help="The instance to act on, if you run several; anywhere in the command. Or WORKSHOP_INSTANCE.",
            expose_value=False,
            show_default=False,
        ),
    ] = None,
) -> None:
    """The options of `workshop` itself; `main` has taken `--instance` already, so it is here for the help."""


def topics() -> dict[str, str]:
    """Every topic's name and its title."""
    found = sorted(_TOPICS.glob("*.md"))
    return {path.stem: _text(path.stem).splitlines()[0].removeprefix("# ") for path in found}


def _complete(incomplete: str) -> list[str]:
    return [name for name in topics() if name.startswith(incomplete)]


Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TOPIC | COMMAND…]",
        help="A topic of the list, or the words of a command.",
        show_default=False,
        autocompletion=_complete,
    ),
]


def show_help(ctx: typer.Context, words: Words = None) -> Result:
    """List the topics, or explain one; with a command's words, show its help."""
    if not words:
        titles = topics()
        table = Table(("topic", "title"), list(titles.items()))
        following = "`workshop help exit-codes`; `workshop --help` lists the commands"
        return Result("help", titles, table=table, next=following)
    if words[0] in topics() and not words[1:]:
        text = _text(words[0])
        return Result("help", {"topic": words[0], "markdown": text}, markdown=text)
    text = _command_help(ctx.find_root().command, words)
    return Result("help", {"command": " ".join(words), "text": text}, lines=text.splitlines())


def _command_help(tree: Any, words: list[str]) -> str:  # noqa: ANN401 - Typer keeps its commands' types private
    command = tree
    for word in words:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            there = ", ".join(topics())
            raise UsageError(
                f"There is no topic and no command `{' '.join(words)}`", hint=f"The topics are {there}"
            )
    # Typer prints a help itself; as a result, it can be JSON, too.
    with contextlib.redirect_stdout(io.StringIO()) as written:
        tree([*words, "--help"], prog_name="workshop", standalone_mode=False)
    return written.getvalue().rstrip()


def _text(topic: str) -> str:
    return (_TOPICS / f"{topic}.md").read_text(encoding="utf-8")
