"""Plays a script at a shell: at a person's speed, or as fast as it goes."""

import contextlib
import random
import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from workshop.core.errors import CheckError, DeadlineError, WorkshopError
from workshop.course.demo.script import KEYS, Script, Step
from workshop.course.demo.shell import Shell

_KEY_SECONDS = 0.06
_THINK_SECONDS = 0.5
_SETUP_SECONDS = 180.0
_BREAK_SECONDS = 10.0


@dataclass(frozen=True)
class Pace:
    """How fast the keys follow (0: at once), what to do at a pause, and before each step."""

    speed: float = 0.0
    pause: Callable[[Step], None] = lambda _: None
    mark: Callable[[Step], None] = lambda _: None


def play(
    script: Script, shell: Shell, pace: Pace, *, first: int = 1, without: Collection[int] = ()
) -> list[Step]:
    """Play the steps from `first` on, except those in `without`; return the steps that were played.

    Raises CheckError at the first step with other output or another exit code than expected.
    """
    played = []
    for step in script.steps:
        if step.number < first or step.number in without:
            continue
        pace.mark(step)
        _play(script, step, shell, pace)
        played.append(step)
        if step.pause:
            pace.pause(step)
    return played


def quietly(commands: Collection[str], shell: Shell) -> None:
    """Run the setup or cleanup commands of a demo; raises CheckError when one fails."""
    for command in commands:
        shell.forget()
        shell.send(f"{command}\r")
        code = shell.wait(_SETUP_SECONDS)
        if code:
            last = " / ".join(shell.output.strip().splitlines()[-3:])
            raise CheckError(f"`{command}` ended with exit code {code}", why=last)


def abandon(commands: Collection[str], shell: Shell) -> None:
    """Stop the running step and clean up; another error is being raised, so failures here are ignored."""
    with contextlib.suppress(WorkshopError):
        shell.send("\x03")
        shell.wait(_BREAK_SECONDS)
    with contextlib.suppress(WorkshopError):
        quietly(commands, shell)


def _play(script: Script, step: Step, shell: Shell, pace: Pace) -> None:
    shell.forget()
    if step.say:
        for line in step.say.splitlines():
            _type(shell, f"# {line}", pace)
            _enter(shell, pace)
            shell.wait(step.seconds)
        if not (step.type or step.press):
            return
    shell.forget()
    if step.press:
        shell.send(KEYS[step.press])
    else:
        _type(shell, step.type, pace)
        _enter(shell, pace)
    try:
        code = shell.wait(step.seconds, step.until)
    except DeadlineError as error:
        raise _failed(script, step, error.what, error.why) from error
    missing = [pattern for pattern in step.expect if not re.search(pattern, shell.output)]
    last = " / ".join(line.strip() for line in shell.output.strip().splitlines()[-3:])
    if missing:
        raise _failed(script, step, f"It did not show `{missing[0]}`", f"The last output was: {last}")
    if code is not None and code != step.exit:
        raise _failed(
            script, step, f"It ended with exit code {code}, not {step.exit}", f"The last output was: {last}"
        )


def _type(shell: Shell, text: str, pace: Pace) -> None:
    if not pace.speed:
        shell.send(text)
        return
    for key in text:
        shell.send(key)
        shell.pump()
        time.sleep(_KEY_SECONDS / pace.speed * random.uniform(0.5, 1.5))  # noqa: S311 - a person's rhythm


def _enter(shell: Shell, pace: Pace) -> None:
    if pace.speed:
        time.sleep(_THINK_SECONDS / pace.speed)
    shell.send("\r")


def _failed(script: Script, step: Step, what: str, why: str) -> CheckError:
    what = f"Step {step.number} of the demo `{script.name}` failed: {what[0].lower()}{what[1:]}"
    return CheckError(
        what, why=why, hint=f"`workshop demo play {script.name} --from {step.number}` tries again"
    )
