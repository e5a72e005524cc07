"""`workshop rehearse`, `demo …` and `bundle …`: what a facilitator prepares before a class."""

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workshop.cli.groups import EXAMPLES, Commands
from workshop.cli.options import (
    Backend,
    EnvFile,
    Overrides,
    Ports,
    complete_demos,
    parse_overrides,
    parse_ports,
)
from workshop.cli.terminal import console, finish, running
from workshop.core.errors import CheckError, UsageError, WorkshopError, reason
from workshop.core.invocation import again
from workshop.core.result import Result, Table

if TYPE_CHECKING:
    from workshop.course.demo.player import Step
    from workshop.lab.bundle.create import BundleReport

Keep = Annotated[bool, typer.Option("--keep", help="Leave everything up afterwards.")]


def rehearse(*, backend: Backend = None, keep: Keep = False, port: Ports = None) -> Result:
    """Set up, run and check every part without a person, then tear down.

    It uses the backend that is up, otherwise the embedded one, unless `--backend` names another. On a
    terminal, each step is one line; `-v` shows all that it prints.
    """
    from workshop.course.lessons import find_lessons
    from workshop.course.run import Rehearsal, is_watched

    outcomes = Rehearsal(find_lessons(), console()).run(ports=parse_ports(port), keep=keep, backend=backend)
    held = all(outcome.held for outcome in outcomes)
    rows = [("✓" if step.held else "✗", step.name, f"{step.seconds:.1f} s", step.shown) for step in outcomes]
    watched = is_watched(console())  # then each step has had its line
    failed = sum(not outcome.held for outcome in outcomes)
    return Result(
        "rehearse",
        {"held": held, "steps": outcomes},
        f"{len(rows) - failed} of {len(rows)} steps passed" if watched else "",
        table=None if watched else Table(("", "step", "time", "result"), rows),
        next="`workshop up`" if held and not keep else "",
        exit_code=0 if held else WorkshopError.exit_code,
    )


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
    float, typer.Option("--speed", min=0.1, max=100, help="The speed, as a multiple of a person's.")
]
From = Annotated[
    str | None, typer.Option("--from", metavar="STEP", help="Start at this step.", show_default=False)
]
Skip = Annotated[list[str] | None, typer.Option("--skip", metavar="STEP", help="Leave this step out.")]
Update = Annotated[bool, typer.Option("--update", help="Save the new output as the golden text.")]
CastFile = Annotated[Path, typer.Argument(metavar="FILE.cast", help="The asciicast to write.")]


def demo_group() -> Commands:
    """The `demo` group."""
    group = Commands("Play, record and verify the demos.", EXAMPLES["demo"])
    group.command("list")(list_demos)
    group.command("play")(play)
    group.command("record")(record)
    group.command("verify")(verify)
    return group


def list_demos(name: MaybeName = None) -> Result:
    """List the demos, or the steps of one."""
    from workshop.course.demo.player import load, names

    if name is None:
        found = [load(each) for each in names()]
        rows = [(each.name, str(len(each.steps)), each.summary) for each in found]
        table = Table(("demo", "steps", "what it shows"), rows)
        data = [{"name": each.name, "title": each.title, "steps": len(each.steps)} for each in found]
        return Result("demo list", data, table=table, next="`workshop demo play part-1`")
    steps = load(name).steps
    rows = [(str(step.number), step.name, step.type or step.press or f"# {step.say}") for step in steps]
    return Result("demo list", steps, table=Table(("step", "name", "what"), rows))


def play(
    name: Name, *, auto: Auto = False, speed: Speed = 1.0, first: From = None, skip: Skip = None
) -> None:
    """Type a demo here as a person would; at a pause, space continues and q stops."""
    from workshop.course.demo import player, session
    from workshop.course.demo.player import Pace, load

    script = load(name)
    start, without = session.chosen(script, first, skip or ())
    if not auto and not sys.stdin.isatty():
        raise UsageError("There is no terminal to wait at", hint=f"{again('--auto')} plays without pauses")
    settings = session.Settings(window=_window, secrets=_secrets(None))
    console().say(f"Setting up: {', '.join(script.setup)}" if script.setup else "", "dim")
    with _keys() as key, session.opened(script, settings, console().raw) as shell:
        player.play(script, shell, Pace(speed, pause=_pause(key, auto=auto)), first=start, without=without)
    console().raw("\n")
    finish(Result("demo play", next="`workshop demo list`"))


def _window() -> tuple[int, int]:
    """Rows and columns: the demo's shell has to wrap its lines where this terminal does."""
    size = shutil.get_terminal_size()
    return size.lines, size.columns


def record(name: Name, file: CastFile, *, speed: Speed = 1.0, env_file: EnvFile = None) -> None:
    """Record a demo as an asciicast (v3), secrets masked."""
    from workshop.course.demo import session
    from workshop.course.demo.player import load

    script = load(name)
    with console().progress() as progress, progress.step(f"Record {script.name}"):
        try:
            seconds = session.record(script, session.Settings(secrets=_secrets(env_file)), file, speed=speed)
        except OSError as error:
            raise UsageError(f"Cannot write `{file}`", why=reason(error)) from error
    finish(Result("demo record", headline=f"{file}: {seconds:.0f} s", next=f"`asciinema play {file}`"))


def verify(name: Name, *, update: Update = False, env_file: EnvFile = None) -> Result:
    """Perform a demo at full speed and compare it with its golden text; exit 6 when it differs."""
    from workshop.course.demo import session
    from workshop.course.demo.player import load

    script = load(name)
    with console().progress() as progress, progress.step(f"Perform {script.name}"):
        differs = session.verify(script, _secrets(env_file), update=update)
    relation = "differs from" if differs else "is now" if update else "agrees with"
    return Result(
        "demo verify",
        {"demo": script.name, "differs": list(differs)},
        f"{script.name} {relation} its golden text",
        differs,
        next=f"`workshop demo verify {name} --update`, if the new output is right" if differs else "",
        exit_code=CheckError.exit_code if differs else 0,
    )


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
        # Not raw mode, in which a line of the demo would not return to the first column.
        tty.setcbreak(sys.stdin)
        yield lambda: sys.stdin.read(1)
    finally:
        # TCSADRAIN: what is still being written is shown first.
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


_File = Annotated[Path, typer.Argument(metavar="FILE", help="The bundle.", show_default=False)]
_HELP = "Create a file with everything a cluster needs, for `up --bundle FILE` without a network."


def bundle_group() -> Commands:
    """The commands under `workshop bundle`."""
    group = Commands(_HELP, EXAMPLES["bundle"])
    group.command("create")(create_file)
    group.command("verify")(verify_file)
    return group


def create_file(*, file: _File, override: Overrides = None) -> Result:
    """Download and build everything a cluster needs, and write it to FILE."""
    from workshop.lab.bundle.create import create_bundle

    with running() as (progress, runner):
        report = create_bundle(file, parse_overrides(override), progress, runner)
    return _bundle_result("bundle create", f"Wrote {report.file}", report)


def verify_file(*, file: _File) -> Result:
    """Check every digest in FILE, and that this machine and this version can use it."""
    from workshop.lab.bundle.create import verify_bundle

    with running() as (progress, runner):
        report = verify_bundle(file, progress, runner)
    return _bundle_result("bundle verify", f"{report.file} is complete, and fits this machine", report)


def _bundle_result(command: str, headline: str, report: "BundleReport") -> Result:
    manifest = report.manifest
    versions = f"workshop {manifest.workshop}, ToolHive {manifest.toolhive}"
    lines = [
        f"{manifest.platform}, {versions}, {report.bytes / 2**20:.0f} MB",
        *(f"{image.reference:<52} {image.image_id[:19]}" for image in manifest.images.values()),
    ]
    return Result(command, report, headline, lines, next=f"`workshop up --bundle {report.file}`")
