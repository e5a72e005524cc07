"""`workshop demo …`: list, play, record and verify the demo scripts."""

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workshop.cli.completion import complete_demos
from workshop.cli.groups import EXAMPLES, Commands
from workshop.cli.options import EnvFile, Json
from workshop.cli.terminal import console, finish
from workshop.core.errors import CheckError, UsageError
from workshop.core.invocation import again
from workshop.core.result import Result, Table

if TYPE_CHECKING:
    from workshop.course.demo.script import Step

Name = Annotated[
    str,
    typer.Argument(
        help="A demo of `workshop demo list`, or a TOML file of your own.", autocompletion=complete_demos
    ),
]
MaybeName = Annotated[
    str | None,
    typer.Argument(help="Show the steps of this demo.", show_default=False, autocompletion=complete_demos),
]
Auto = Annotated[bool, typer.Option("--auto", help="Do not wait at pauses.")]
Speed = Annotated[
    float, typer.Option("--speed", min=0.1, max=100, help="How many times as fast as a person.")
]
From = Annotated[str | None, typer.Option("--from", metavar="STEP", help="Begin here.", show_default=False)]
Skip = Annotated[list[str] | None, typer.Option("--skip", metavar="STEP", help="Leave this step out.")]
Update = Annotated[bool, typer.Option("--update", help="Save the new output as the golden text.")]
CastFile = Annotated[Path, typer.Argument(metavar="FILE.cast", help="The asciicast to write.")]


def build_group() -> Commands:
    """The `demo` group."""
    group = Commands("Play, record and verify the demos.", EXAMPLES["demo"])
    group.command("list")(list_demos)
    group.command("play")(play)
    group.command("record")(record)
    group.command("verify")(verify)
    return group


def list_demos(name: MaybeName = None, *, json: Json = False) -> None:
    """List the demos, or the steps of one."""
    from workshop.course.demo import script as scripts

    if name is None:
        found = [scripts.load(each) for each in scripts.names()]
        rows = [(each.name, str(len(each.steps)), each.summary) for each in found]
        table = Table(("demo", "steps", "what it shows"), rows)
        data = [{"name": each.name, "title": each.title, "steps": len(each.steps)} for each in found]
        finish(Result("demo list", data, table=table, next="`workshop demo play part-1`"), as_json=json)
        return
    steps = scripts.load(name).steps
    rows = [(str(step.number), step.name, step.type or step.press or f"# {step.say}") for step in steps]
    finish(Result("demo list", steps, table=Table(("step", "name", "what"), rows)), as_json=json)


def play(
    name: Name, *, auto: Auto = False, speed: Speed = 1.0, first: From = None, skip: Skip = None
) -> None:
    """Type a demo here as a person would; space goes on at a pause, q ends it."""
    from workshop.course.demo import player, session
    from workshop.course.demo.player import Pace
    from workshop.course.demo.script import load

    script = load(name)
    start, without = session.chosen(script, first, skip or ())
    if not auto and not sys.stdin.isatty():
        raise UsageError("There is no terminal to wait at", hint=f"{again('--auto')} plays without pauses")
    size = shutil.get_terminal_size()
    settings = session.Settings(size.columns, size.lines, secrets=_secrets(None))
    console().say(f"Setting up: {', '.join(script.setup)}" if script.setup else "", "dim")
    with _keys() as key, session.opened(script, settings, console().raw) as shell:
        player.play(script, shell, Pace(speed, pause=_pause(key, auto=auto)), first=start, without=without)
    console().raw("\n")
    finish(Result("demo play", next="`workshop demo list`"))


def record(name: Name, file: CastFile, *, speed: Speed = 1.0, env_file: EnvFile = None) -> None:
    """Record a demo as an asciicast (v3), secrets masked."""
    from workshop.course.demo import session
    from workshop.course.demo.script import load

    script = load(name)
    with console().progress() as progress, progress.step(f"Record {script.name}"):
        try:
            seconds = session.record(script, session.Settings(secrets=_secrets(env_file)), file, speed=speed)
        except OSError as error:
            raise UsageError(f"Cannot write `{file}`", why=error.strerror or str(error)) from error
    finish(Result("demo record", headline=f"{file}: {seconds:.0f} s", next=f"`asciinema play {file}`"))


def verify(name: Name, *, update: Update = False, env_file: EnvFile = None, json: Json = False) -> None:
    """Perform a demo at full speed and compare it with its golden text; exit 6 when it differs."""
    from workshop.course.demo import session
    from workshop.course.demo.script import load

    script = load(name)
    with console().progress() as progress, progress.step(f"Perform {script.name}"):
        differs = session.verify(script, _secrets(env_file), update=update)
    relation = "differs from" if differs else "is now" if update else "agrees with"
    result = Result(
        "demo verify",
        {"demo": script.name, "differs": list(differs)},
        f"{script.name} {relation} its golden text",
        differs,
        next=f"`workshop demo verify {name} --update`, if the new output is right" if differs else "",
        exit_code=CheckError.exit_code if differs else 0,
    )
    finish(result, as_json=json)


def _secrets(env_file: Path | None) -> Sequence[str]:
    from workshop.core.redaction import known_secrets

    return known_secrets(env_file)


def _pause(key: Callable[[], str], *, auto: bool) -> "Callable[[Step], None]":
    def wait(_: "Step") -> None:
        while not auto:
            pressed = key()
            if pressed in {"q", "\x03"}:
                raise KeyboardInterrupt
            if pressed in {" ", "\r", "\n"}:
                return

    return wait


@contextmanager
def _keys() -> Iterator[Callable[[], str]]:
    """Read single keys without echo; afterwards the terminal is as before."""
    if not sys.stdin.isatty():
        yield lambda: "q"
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield lambda: sys.stdin.read(1)
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
