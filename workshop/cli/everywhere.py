"""Options of every command and group, spelled once: how much is said, and whether anybody is asked."""

import copy
from collections.abc import Callable
from typing import Annotated, Any

import typer

from workshop.cli.terminal import console


def _louder(given: int) -> None:
    console().verbosity += given


def _quieter(given: int) -> None:
    console().verbosity -= given


def _unasked(given: bool) -> None:  # noqa: FBT001 - Typer calls it so
    console().asks = console().asks and not given


Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        callback=_louder,
        is_eager=True,
        show_default=False,
        help="Show the commands that are run; twice: their output too.",
    ),
]
Quiet = Annotated[
    int,
    typer.Option(
        "--quiet",
        "-q",
        count=True,
        callback=_quieter,
        is_eager=True,
        show_default=False,
        help="No progress and no hints; twice: no warnings.",
    ),
]
NoInput = Annotated[
    bool,
    typer.Option(
        "--no-input",
        callback=_unasked,
        is_eager=True,
        help="Ask nobody, as if there were no terminal.",
    ),
]
_NAMES = ("verbose", "quiet", "no_input")


def spread(root: Any) -> None:  # noqa: ANN401 - Typer keeps its commands' types private
    """Let everything below `root` take the options that `root` itself defines for all."""
    shared = []
    for parameter in root.params:
        if parameter.name in _NAMES:
            shared.append(copy.copy(parameter))
            shared[-1].expose_value = False  # its callback has acted; no command is handed it
    _convert_only_text(root)
    _add(root.commands.values(), shared)


def _add(commands: Any, shared: list[Any]) -> None:  # noqa: ANN401 - same
    for command in commands:
        command.params = [*command.params, *shared]
        _convert_only_text(command)
        _add(getattr(command, "commands", {}).values(), shared)


def _convert_only_text(command: Any) -> None:  # noqa: ANN401 - same
    """Let an option that was not given, and a count, pass as they are.

    Typer imports pydantic to convert any value, also None: twice the time that `import typer` takes.
    """
    listed: Callable[[Any], list[Any]] = command.get_params

    def get_params(context: Any) -> list[Any]:  # noqa: ANN401 - same
        parameters = listed(context)  # with `--help`, which is made on demand
        for parameter in parameters:
            if "process_value" not in vars(parameter):
                parameter.process_value = _only_text(parameter)
        return parameters

    command.get_params = get_params


def _only_text(parameter: Any) -> Callable[[Any, Any], Any]:  # noqa: ANN401 - same
    convert: Callable[[Any, Any], Any] = parameter.process_value
    single = parameter.nargs == 1 and not parameter.multiple

    def process_value(context: Any, value: Any) -> Any:  # noqa: ANN401 - same
        absent = value is None and single and not parameter.required
        if not absent and not isinstance(value, int):
            return convert(context, value)
        return parameter.callback(context, parameter, value) if parameter.callback else value

    return process_value
