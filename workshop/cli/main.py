"""The one way in: parse, run, and turn every error into its exit code."""

import sys
from collections.abc import Sequence

from typer import Abort
from typer.exceptions import TyperException

from workshop.cli.app import build_app
from workshop.cli.terminal import console
from workshop.errors import INTERRUPTED, UsageError, WorkshopError
from workshop.interrupts import interrupts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code (see `workshop.errors`)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    interrupts.install(console())
    try:
        code = build_app()(given, prog_name="workshop", standalone_mode=False)
    except WorkshopError as error:
        return _tell(error, given)
    except TyperException as error:
        return _tell_usage(error, given)
    except (KeyboardInterrupt, Abort):  # Typer's prompts turn Ctrl-C and Ctrl-D into the latter
        code = INTERRUPTED
    if code == INTERRUPTED:
        console().say("Stopped")
    return code if isinstance(code, int) else 0


def _tell_usage(error: TyperException, given: list[str]) -> int:
    tell = getattr(error, "format_message", None)
    message = str(tell() if tell else error)
    if message.startswith("Usage:"):  # no command was named: the message is the help
        console().say(message)
        return UsageError.exit_code
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "workshop"
    return _tell(UsageError(message.rstrip("."), hint=f"`{path} --help` shows what there is"), given)


def _tell(error: WorkshopError, given: list[str]) -> int:
    if "--json" in given:
        console().error_json(" ".join(word for word in given if not word.startswith("-")), error)
    else:
        console().error(error)
    return error.exit_code


def run() -> None:
    """The console script."""
    sys.exit(main())
