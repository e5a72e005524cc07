"""The entry point: parse, run, and turn every error into a few lines and an exit code."""

import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from typer import Abort
from typer.exceptions import TyperException

from workshop.cli.app import build_tree
from workshop.cli.terminal import console
from workshop.core import invocation
from workshop.core.errors import INTERRUPTED, InterruptError, UsageError, WorkshopError
from workshop.core.interrupts import interrupts
from workshop.core.invocation import INSTANCE
from workshop.core.streams import OutputError, prepare_streams

_OPTION = "--instance"
_STOPPED = InterruptError("Stopped", hint="`workshop status` shows what exists now")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code (see `workshop.core.errors`); it raises no error."""
    # First: everything after this may print, and stdout may be closed.
    prepare_streams()
    given, instance = _taken(list(sys.argv[1:] if arguments is None else arguments))
    invocation.remember(given, instance)
    try:
        with _on(instance):
            code = _run(given)
        # Here a full disk can still be reported; Python's own flush at the end would be too late.
        sys.stdout.flush()
    except OutputError as error:  # the document cannot be printed either
        console().error(error)
        return error.exit_code
    return code


def _taken(words: list[str]) -> tuple[list[str], str]:
    """The words without `--instance NAME`, anywhere before `--`, and the name; empty for none."""
    name, left, words = "", list[str](), list(words)
    # What follows `--` is a command of its own, as in `room exec`.
    while words and words[0] != "--":
        word = words.pop(0)
        if word.startswith(f"{_OPTION}=") or (word == _OPTION and words):
            name = word.removeprefix(f"{_OPTION}=") if "=" in word else words.pop(0)
        else:
            left.append(word)
    return [*left, *words], name


@contextmanager
def _on(instance: str) -> Iterator[None]:
    """Act on this instance, also in the programs that are started; without a name, on the shell's."""
    before = os.environ.get(INSTANCE)
    if instance:
        os.environ[INSTANCE] = instance
    try:
        yield
    finally:
        # One process may run several commands, as the tests do.
        if instance and before is None:
            del os.environ[INSTANCE]
        elif instance and before is not None:
            os.environ[INSTANCE] = before


def _run(given: list[str]) -> int:
    tree = None
    # Before the tree is built, because Ctrl-C must also end a slow start.
    interrupts.install(console(), lambda: _show_interrupt(tree, given))
    try:
        tree = build_tree(given)
        code = tree(given, prog_name="workshop", standalone_mode=False)
    except OutputError:  # nothing more can be printed there; `main` reports it on stderr
        raise
    except TyperException as error:
        return _show_usage_error(error, tree, given)
    except (KeyboardInterrupt, Abort):  # Typer's prompts turn Ctrl-C and Ctrl-D into the latter
        code = INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a traceback is never shown
        return _show_error(_short(error, given), tree, given)
    if code == INTERRUPTED:
        console().tell("Stopped")
        _show_interrupt(tree, given)
    # Typer returns the code of a `typer.Exit` here, and otherwise whatever the command has returned.
    return code if isinstance(code, int) else 0


def _short(error: Exception, given: list[str]) -> WorkshopError:
    if isinstance(error, WorkshopError):
        return error
    from workshop.core.crash import short_error  # what it imports is only needed after a failure

    return short_error(error, ["workshop", *given], console().hidden)


def _show_usage_error(error: TyperException, tree: Any, given: list[str]) -> int:  # noqa: ANN401 - Typer's own type
    message = _message(error)
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "workshop"
    if message.startswith("Usage:"):  # no command was named: the message is the help
        if not _wants_json(given):
            console().tell(message)
            return UsageError.exit_code
        message = f"`{path}` needs a command"
    return _show_error(
        UsageError(message.rstrip("."), hint=f"`{path} --help` shows what there is"), tree, given
    )


def _message(error: TyperException) -> str:
    """Typer's message, without the line before each choice and its name for an error in a value."""
    if hint := _given_by(error):
        error.param_hint = hint  # type: ignore[attr-defined]  # only an error about an option has a variable
    formatted = getattr(error, "format_message", None)
    message = str(formatted() if formatted else error)
    return message.replace("\n\t", " ").replace(": Value error, ", ": ", 1)


def _given_by(error: TyperException) -> str:
    """What gave a wrong value, of an option that has a variable: Typer names both, whichever it was."""
    option, context = getattr(error, "param", None), getattr(error, "ctx", None)
    variable = getattr(option, "envvar", None)
    if not isinstance(variable, str) or option is None or context is None:
        return ""
    source = context.get_parameter_source(option.name)
    return variable if source is not None and source.name == "ENVIRONMENT" else f"'{option.opts[0]}'"


def _show_error(error: WorkshopError, tree: Any, given: list[str]) -> int:  # noqa: ANN401 - same
    if _wants_json(given):
        console().error_json(_named(tree, given), error)
    else:
        console().error(error)
    return error.exit_code


def _show_interrupt(tree: Any, given: list[str]) -> None:  # noqa: ANN401 - same
    if _wants_json(given):
        console().error_json(_named(tree, given), _STOPPED)


def _wants_json(given: list[str]) -> bool:
    # Before anything is parsed: a mistake in the command line is answered in JSON, too.
    return "--json" in itertools.takewhile(lambda word: word != "--", given)


def _named(tree: Any, given: list[str]) -> str:  # noqa: ANN401 - same
    """The command as results name it: the path of words to it, without the part's number."""
    path = []
    for word in given:
        command = getattr(tree, "commands", {}).get(word)
        if command is not None:
            tree = command
            path += [] if word.isdigit() else [word]
    return " ".join(path) or "workshop"
