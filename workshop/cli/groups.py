"""The classes of all commands and groups: shared options, headings, and examples in the help."""

import difflib
import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from workshop.cli.options import Json
from workshop.cli.terminal import console, finish
from workshop.core.errors import UsageError, WorkshopError
from workshop.core.invocation import runnable_line
from workshop.core.result import Result
from workshop.core.text import docstring

EXAMPLES: dict[str, tuple[str, ...]] = {
    "up": (
        "workshop up                             choose the best backend",
        "workshop up --backend kind              a cluster in Docker",
        "workshop up --upstream practice         never use the real GitHub",
        "workshop up --port github-remote=8088   when 8080 is in use",
        "workshop up --dry-run                   only show what would be done",
    ),
    "join": (
        "workshop join monday-07.kubeconfig   your seat, from the facilitator's file",
        "workshop join --leave                the seat is no longer needed here",
    ),
    "status": ("workshop status", "workshop status --json"),
    "logs": (
        "workshop logs                          the last lines of all",
        "workshop logs github-remote --follow   one, until Ctrl-C",
        "workshop logs --lines 200 workshop     more of another",
    ),
    "teardown": ("workshop teardown",),
    "next": ("workshop next",),
    "open": (
        "workshop open               the part you are in, in your browser",
        "workshop open 4 --present   part 4 on a projector",
    ),
    "doctor": (
        "workshop doctor",
        "workshop doctor --cluster --online   check for a cluster, too",
        "workshop doctor --fix                repair what can be repaired",
    ),
    "connect": (
        "workshop connect claude-code           what to run",
        "workshop connect vscode --write        write it into this project",
        "workshop connect cursor workshop       part 3 instead of part 4",
        "workshop connect gemini elicitation    a variation that runs",
    ),
    "bridge": (
        "workshop bridge http://localhost:8080/mcp   as a client's configuration starts it",
        "workshop connect claude-desktop             the entry for it",
    ),
    "probe": (
        "workshop probe http://localhost:8080/mcp",
        "workshop probe https://mcp.example.com/mcp --follow --all",
        "workshop probe https://mcp.example.com/mcp --login",
    ),
    "compare": (
        "workshop compare http://localhost:9000/mcp",
        "workshop compare https://mcp.example.com/mcp --login --html compare.html",
    ),
    "serve": (
        "workshop serve resource-server --config tools.toml",
        "workshop serve prefix-gateway --status   the servers behind the one that runs",
    ),
    "login": ("workshop login list", "workshop login revoke --all"),
    "rehearse": ("workshop rehearse", "workshop rehearse --backend kind --keep"),
    "demo": (
        "workshop demo list",
        "workshop demo play tutorial   press space at a pause",
        "workshop demo play part-4 --auto --speed 3",
        "workshop demo verify part-1",
    ),
    "bundle": (
        "workshop bundle create workshop.bundle   with a network",
        "workshop up --bundle workshop.bundle     without one",
    ),
    "room": (
        "workshop room create monday --seats 30 --context CLUSTER --plan",
        "workshop room create monday --seats 30 --context CLUSTER",
        "workshop room create monday --from people.csv --print-cards cards.html",
        "workshop room status monday --watch              who is where, and what is wrong",
        "workshop room exec monday 07 -- part 4 check     for somebody who is stuck",
        "workshop room renew monday 07   a new seat file for seat 07",
        "workshop room remove monday",
    ),
    "trace": (
        "workshop part 4 run --trace run.html --trace run.json",
        "workshop trace explain run.json",
    ),
    "report": ("workshop report",),
    "help": ("workshop help exit-codes", "workshop help part 4 run"),
}
PART_EXAMPLES = (
    "workshop part {0} show",
    "workshop part {0} run",
    "workshop part {0} check --hint",
    "workshop part {0} check --watch",
    "workshop part {0} exercise 1",
)


def _louder(given: int) -> None:
    console().verbosity += given


def _quieter(given: int) -> None:
    console().verbosity -= given


def _no_questions(given: bool) -> None:  # noqa: FBT001 - Typer calls it so
    # The option may stand at each level of a command, and one of them is enough.
    console().asks = console().asks and not given


def _shared_options(
    *,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            callback=_louder,
            is_eager=True,
            expose_value=False,
            show_default=False,
            help="Show the commands that are run; twice: their output too.",
        ),
    ] = 0,
    quiet: Annotated[
        int,
        typer.Option(
            "--quiet",
            "-q",
            count=True,
            callback=_quieter,
            is_eager=True,
            expose_value=False,
            show_default=False,
            help="No progress and no hints; twice: no warnings.",
        ),
    ] = 0,
    no_input: Annotated[
        bool,
        typer.Option(
            "--no-input",
            callback=_no_questions,
            is_eager=True,
            expose_value=False,
            help="Never ask, as if there were no terminal.",
        ),
    ] = False,
) -> None:
    """The options of every command and group; their callbacks act while the command line is parsed."""


# Typer makes options only from a signature, so they are taken from an app with one function.
@functools.cache
def _shared() -> tuple[Any, ...]:
    app = typer.Typer(add_completion=False)
    app.command()(_shared_options)
    return tuple(typer.main.get_command(app).params)


def _converting_only_text(parameters: list[Any]) -> list[Any]:
    """Do not convert an option that was not given, or a count.

    Typer imports pydantic to convert any value, even None: twice the time that `import typer` takes.
    """
    for parameter in parameters:
        # The shared options are the same objects in every command: each is wrapped once.
        if "process_value" not in vars(parameter):
            parameter.process_value = _only_text(parameter)
    return parameters


def _only_text(parameter: Any) -> Callable[[Any, Any], Any]:  # noqa: ANN401 - Typer keeps these types private
    convert: Callable[[Any, Any], Any] = parameter.process_value
    single = parameter.nargs == 1 and not parameter.multiple

    def process_value(context: Any, value: Any) -> Any:  # noqa: ANN401 - same
        absent = value is None and single and not parameter.required
        if not absent and not isinstance(value, int):
            return convert(context, value)
        return parameter.callback(context, parameter, value) if parameter.callback else value

    return process_value


class _Shared:
    """What commands and groups have in common: the shared options, and `--help` among their parameters."""

    params: list[Any]

    def __init__(self, *arguments: Any, **settings: Any) -> None:  # noqa: ANN401 - Typer keeps these types private
        """Take what Typer's own class takes."""
        super().__init__(*arguments, **settings)
        self.params = [*self.params, *_shared()]

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - Typer keeps these types private
        """All parameters, with `--help`, which Typer creates on demand."""
        return _converting_only_text(super().get_params(ctx))  # type: ignore[misc]


class Command(_Shared, TyperCommand):
    """A command that also takes the shared options."""


class Group(_Shared, TyperGroup):
    """A group that also takes the shared options, and lists its commands under headings."""

    headings: Mapping[str, Collection[str]] = {}
    """The names below each heading of the help, in order; empty: one heading for all."""
    guesses: Mapping[str, str] = {}
    """What a person may type instead of a command, and the words that do it."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - Typer keeps these types private
        """Find the command, or raise UsageError with the one that was probably meant."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            where = ctx.command_path
            meant = self.guess(ctx, args)
            hint = f"Did you mean `{meant}`? " if meant else ""
            raise UsageError(
                f"There is no command `{where} {args[0]}`", hint=f"{hint}`{where} --help` lists the commands"
            )
        return super().resolve_command(ctx, args)

    def guess(self, ctx: Any, args: list[str]) -> str:  # noqa: ANN401 - Typer keeps these types private
        """The command that was meant by unknown `args`; empty if there is no guess."""
        word = args[0].casefold()
        other = self.guesses.get(word) or next(iter(difflib.get_close_matches(word, self.commands, 1)), "")
        return f"{ctx.command_path} {other}" if other else ""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401, ARG002 - Typer calls it so
        """Write one section a heading, without cutting the sentences as Typer does."""
        for heading, names in (self.headings or {"Commands": list(self.commands)}).items():
            rows = [(name, self.commands[name].get_short_help_str(formatter.width)) for name in names]
            with formatter.section(heading):
                formatter.write_dl(rows)


class PartGroup(Group):
    """A group with a command for each part's number: an unknown command is an unknown part."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - Typer keeps these types private
        """Find the command, or raise UsageError with the parts that exist, or with the right order."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            parts = [name for name in self.commands if name.isdigit()]
            if args[0].isdigit() or not (meant := self.turned_round(args, parts)):
                hint = f"There are {', '.join(parts)}: `workshop part list`"
                raise UsageError(f"There is no part `{args[0]}`", hint=hint)
            raise UsageError("The number of the part comes first", hint=f"Did you mean `{meant}`?")
        return super().resolve_command(ctx, args)

    def turned_round(self, args: list[str], parts: Sequence[str]) -> str:
        """Such as `workshop part 1 run` for `run 1`; empty if the first is not a command of a part."""
        word, *rest = args
        number = next((each for each in rest if each in parts), None) or current_part()
        part: Any = self.commands.get(number)
        if part is None:
            return ""
        command = word if word in part.commands else part.guesses.get(word.casefold(), "")
        more = rest[rest.index(number) + 1 :] if number in rest else rest
        return " ".join(("workshop part", number, command, *more)) if command else ""


class RootGroup(Group):
    """The first group: a part's number or command alone is a guess at it."""

    def guess(self, ctx: Any, args: list[str]) -> str:  # noqa: ANN401 - same
        """As `Group.guess`; a command of a part is meant for the part that the learner is in."""
        parts: Any = self.commands["part"]
        if args[0] in parts.commands and args[0].isdigit():
            return f"workshop part {args[0]} {' '.join(args[1:]) or 'show'}"
        return super().guess(ctx, args) or parts.turned_round(args, list(parts.commands))


class LessonGroup(Group):
    """The commands of one part."""

    guesses: Mapping[str, str] = {
        "hint": "check --hint",
        "hints": "check --hint",
        "watch": "check --watch",
        "start": "run",
        "read": "show",
        "test": "check",
        "exercises": "exercise",
        "solution": "solve",
    }
    _OF_EXERCISES = ("check", "exercise", "solve", "reset")

    def guess(self, ctx: Any, args: list[str]) -> str:  # noqa: ANN401 - same
        """As `Group.guess`, with the exercise's number if one was given."""
        meant = super().guess(ctx, args)
        takes_number = meant.removeprefix(f"{ctx.command_path} ").startswith(self._OF_EXERCISES)
        return " ".join([meant, *(word for word in args[1:] if takes_number and word.isdigit())])


def current_part() -> str:
    """The number of the part that the learner is in; 1 if that cannot be read."""
    from workshop.cli.next import find_next

    try:
        return str(find_next().part or 1)
    except WorkshopError:
        return "1"


class Commands(typer.Typer):
    """A Typer whose commands are of our classes, each shown with its examples."""

    def __init__(
        self,
        text: str,
        examples: Sequence[str] = (),
        *,
        cls: type[Group] = Group,
        **settings: Any,  # noqa: ANN401 - as Typer declares them
    ) -> None:
        """`text` is the help, `settings` are Typer's."""
        super().__init__(
            cls=cls,
            no_args_is_help=True,
            pretty_exceptions_enable=False,
            rich_markup_mode=None,  # rich would double the time of `--help`
            **_described(text, examples),
            **settings,
        )

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:  # noqa: ANN401 - same
        """Register a command of our class under `name`; its Result is shown, or printed with `--json`."""

        def register(function: Any) -> Any:  # noqa: ANN401 - as Typer declares it
            described = {"help": docstring(function), **settings}
            shown = (
                _showing(function) if inspect.get_annotations(function).get("return") is Result else function
            )
            super(Commands, self).command(name, **{"cls": Command, **described})(shown)
            return function

        return register

    def add(self, name: str, command: Any) -> None:  # noqa: ANN401 - a function or a group
        """Register a function with its examples, or a group of commands."""
        if isinstance(command, typer.Typer):
            self.add_typer(command, name=name)
            return
        described = _described(docstring(command), EXAMPLES.get(name, ()))
        self.command(name, **described)(command)


def _showing(function: Callable[..., Result]) -> Callable[..., None]:
    """The function with an option `--json`; its result is shown, and decides the exit code."""

    @functools.wraps(function)
    def command(*arguments: Any, json: bool, **options: Any) -> None:  # noqa: ANN401 - those of the function
        finish(function(*arguments, **options), as_json=json)

    # Typer reads the parameters from the signature, and their types from the annotations.
    own = inspect.signature(function)
    option = inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json)
    command.__signature__ = own.replace(parameters=[*own.parameters.values(), option])  # type: ignore[attr-defined]
    command.__annotations__ = {**function.__annotations__, "json": Json}
    return command


def _described(text: str, examples: Sequence[str]) -> dict[str, Any]:
    r"""The help with the examples after it, and its first line alone for lists; `\b` stops rewrapping."""
    if not examples:
        return {"help": text}
    lines = [runnable_line(example) for example in examples]
    return {"help": "\n".join([text, "", "\b", *lines]), "short_help": text.splitlines()[0]}
