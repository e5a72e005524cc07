"""Demos: scripts, which are TOML files of steps, and what plays one at a shell on a pseudo-terminal.

A step is a text to say, a command to type or a key to press, at a person's speed or as fast as it goes.
"""

import contextlib
import os
import random
import re
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from workshop.core.errors import CheckError, DeadlineError, PreflightError, UsageError, WorkshopError
from workshop.core.files import read_toml, validated
from workshop.core.invocation import UV_RUN
from workshop.core.mistakes import Seconds
from workshop.core.paths import parts_dir

SCRIPTS = Path(__file__).parent / "scripts"
KEYS = {"": "", "ctrl-c": "\x03", "ctrl-d": "\x04", "enter": "\r", "space": " ", "y": "y", "n": "n"}
_VARIABLE, _WORKLOAD = re.compile(r"[A-Z][A-Z_]*"), re.compile(r"[a-z][a-z-]*")
_KEY_SECONDS = 0.06
_THINK_SECONDS = 0.5
_SETUP_SECONDS = 180.0
_BREAK_SECONDS = 10.0
# An operating system command (OSC) that no terminal uses: cut from the output, it marks the prompt.
_MARK = re.compile(r"\x1b\]7770;(\d+)\x07")
_MARK_BEGINNING = re.compile(r"\x1b(?:\](?:7(?:7(?:7(?:0(?:;\d*)?)?)?)?)?)?$")
_STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b\][^\x07]*\x07")
_PROMPT_END = r"\[\e]7770;$?\a\]"  # after the prompt: what is typed next cannot overtake it
_READ = 8192
_SLICE_SECONDS = 0.05
_DESCRIBED = "The demos in `workshop/course/demo/scripts` have every key"


def _is_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from error
    return text


def _exit_code(found: object) -> int:
    if type(found) is not int:
        raise ValueError("is not an exit code")
    return found


def _addresses(found: object) -> Mapping[str, str]:
    words = found if isinstance(found, Mapping) else {"": ""}
    if not all(_VARIABLE.fullmatch(name) and _WORKLOAD.fullmatch(str(of)) for name, of in words.items()):
        raise ValueError('does not name workloads, as `URL = "github-remote"` does')
    return words


def _numbered(found: Any) -> Any:  # noqa: ANN401 - what TOML has there
    """The steps with a number from 1, which is also the name of one that has none."""
    if not isinstance(found, list) or not all(isinstance(step, dict) for step in found):
        return found
    return [{"name": str(number), **step, "number": number} for number, step in enumerate(found, 1)]


_Pattern = Annotated[str, AfterValidator(_is_pattern)]


@dataclass(frozen=True)
class Step:
    """One step: the text to say, type or press, the patterns to expect, and the exit code of the command.

    With `until` the next step starts as soon as that pattern appears, without waiting for the prompt.
    """

    number: int
    name: str
    say: str = ""
    type: str = ""
    press: Literal["", "ctrl-c", "ctrl-d", "enter", "space", "y", "n"] = ""
    expect: Annotated[
        tuple[_Pattern, ...], BeforeValidator(lambda found: [found] if isinstance(found, str) else found)
    ] = ()
    until: _Pattern = ""
    exit: Annotated[int, BeforeValidator(_exit_code)] = 0
    seconds: Seconds = 60.0
    pause: bool = False
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        """Refuse a step without anything to do."""
        if not (self.say or self.type or self.press):
            raise ValueError("has neither `say`, `type` nor `press`")


class Script(BaseModel):
    """A demo: its steps, and the commands before and after it that are not shown.

    `addresses` maps the shell variables that the steps use to workloads: `$URL` is then such an address.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Path
    title: str
    summary: str = ""
    setup: tuple[str, ...] = ()
    addresses: Annotated[Mapping[str, str], BeforeValidator(_addresses)] = {}
    cleanup: tuple[str, ...] = ()
    steps: Annotated[tuple[Step, ...], Field(min_length=1), BeforeValidator(_numbered)]

    @property
    def name(self) -> str:
        return self.file.stem

    @property
    def golden(self) -> Path:
        """The file with the output that the demo should have."""
        return self.file.with_suffix(".golden.txt")


def names() -> list[str]:
    """The demos that come with the toolkit."""
    return sorted(path.stem for path in SCRIPTS.glob("*.toml"))


def load(name: str) -> Script:
    """The demo of this name, or in this TOML file; raises UsageError if it is missing or wrong."""
    path = Path(name) if name.endswith(".toml") else SCRIPTS / f"{name}.toml"
    if not path.is_file():
        raise UsageError(f"Unknown demo `{name}`", hint=f"Choose {', '.join(names())}, or name a TOML file")
    return validated(Script, {"title": path.stem, **read_toml(path), "file": path}, path, _DESCRIBED)


class Shell:
    """Bash on a pseudo-terminal, whose prompt reports the exit code of the last command.

    `show` gets everything that it writes, as it comes. `size` is asked for rows and columns again and again,
    so that the pseudo-terminal follows a window.
    """

    def __init__(
        self,
        show: Callable[[str], None],
        size: Callable[[], tuple[int, int]],
        term: str,
        environment: Mapping[str, str],
        folder: Path | None,
    ) -> None:
        import pexpect

        bash = pexpect.which("bash")
        if bash is None:
            raise PreflightError("`bash` is not installed", why="Demos type their commands into it")
        self._show = show
        self._size, self._now = size, size()
        self._held = ""
        self._written = ""
        self._eof = pexpect.EOF
        self._timeout = pexpect.TIMEOUT
        self._child = pexpect.spawn(
            bash,
            # A person's aliases and prompt are not the demo's, and readline redraws what is typed.
            ["--noprofile", "--norc", "--noediting"],
            env={**_environment(term), **environment},
            cwd=folder,
            encoding="utf-8",
            codec_errors="replace",
            dimensions=self._now,
            echo=True,
        )
        # pexpect waits 50 ms before each key otherwise.
        self._child.delaybeforesend = None
        self.exit_code = self.wait(10)

    @property
    def output(self) -> str:
        """What was written since the last `forget`, without styles."""
        return _STYLE.sub("", self._written)

    def forget(self) -> None:
        """Start `output` anew."""
        self._written = ""

    def send(self, text: str) -> None:
        """Type this text now."""
        self._child.send(text)

    def pump(self) -> int | None:
        """Show what has been written; the exit code when the prompt came back, else None."""
        self._follow_window()
        try:
            self._held += self._child.read_nonblocking(_READ, timeout=_SLICE_SECONDS)
        except self._timeout:
            return None
        except self._eof as error:
            raise WorkshopError("The demo's shell has ended", hint="A step may have typed `exit`") from error
        code = None
        while found := _MARK.search(self._held):
            self._pass_on(self._held[: found.start()])
            self._held = self._held[found.end() :]
            code = int(found[1])
        # A read may end in the middle of the mark, which must not be shown.
        beginning = _MARK_BEGINNING.search(self._held)
        end = beginning.start() if beginning else len(self._held)
        self._pass_on(self._held[:end])
        self._held = self._held[end:]
        return code

    def wait(self, seconds: float, until: str = "") -> int | None:
        """Wait for the prompt and return the exit code, or None as soon as `until` was written."""
        deadline = time.monotonic() + seconds
        while True:
            code = self.pump()
            if code is not None:
                return code
            if until and re.search(until, self.output):
                return None
            if time.monotonic() > deadline:
                last = " / ".join(self.output.strip().splitlines()[-2:])
                raise DeadlineError(
                    f"The step did not end within {seconds:.0f} s", why=f"The last output was: {last}"
                )

    def close(self) -> None:
        """End the shell and what it started."""
        self._child.close(force=True)

    def _follow_window(self) -> None:
        if (size := self._size()) != self._now:
            self._now = size
            self._child.setwinsize(*size)

    def _pass_on(self, text: str) -> None:
        if text:
            self._written += text
            self._show(text)


def _environment(term: str) -> dict[str, str]:
    prompt = "$ " if term == "dumb" else r"\[\e[1;36m\]$\[\e[0m\] "
    scripts = str(Path(sys.executable).parent)
    # A demo types `workshop`, which the PATH below finds: the hints must not depend on how it was started.
    inherited = {name: value for name, value in os.environ.items() if name != UV_RUN}
    return {
        **inherited,
        "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}",
        "TERM": term,
        "PS1": f"{prompt}{_PROMPT_END}",
        "PROMPT_COMMAND": "",  # one of the person's shell would run before each prompt
        # On macOS, bash recommends zsh at each start.
        "BASH_SILENCE_DEPRECATION_WARNING": "1",
        "HISTFILE": "/dev/null",
        # A pager would wait for a key that no step presses.
        "PAGER": "cat",
        "PARTS": str(parts_dir()),
        "PRACTICE_PORT": "8090",
    }


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
