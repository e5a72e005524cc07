"""One performance of a demo: setup, steps, cleanup; and its comparison with the golden text."""

import difflib
import json
import re
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from workshop.core.errors import UsageError
from workshop.core.paths import replace_file, writing
from workshop.core.ports import free_port
from workshop.course.demo import player
from workshop.course.demo.player import Pace, Script, Shell, Step

_WORKLOADS = ("github-remote", "workshop", "practice-github")
_WIDE = 500  # nothing is wrapped, whatever the length of a time or a port
COLUMNS, ROWS = 100, 30
_NORMAL = (
    (re.compile(r"\x1b\[[0-9;]*m"), ""),  # newer versions of curl print the names of headers bold
    (re.compile(r"\r+\n"), "\n"),
    (re.compile(r"\r"), "\n"),
    (re.compile(r"\((\d+(\.\d+)?) s\)"), "(… s)"),
    (re.compile(r"\b\d+(\.\d+)? (ms|s)\b"), "… s"),
    (re.compile(r"\b(localhost|127\.0\.0\.1):\d+"), r"\1:PORT"),
    (re.compile(r"\b(port) \d{4,5}\b", re.IGNORECASE), r"\1 PORT"),
    (re.compile(r"\b([a-z-]+)=\d{4,5}\b"), r"\1=PORT"),
    (re.compile(r"\bin \d+ (min|h|d)\b"), "in TIME"),
    (re.compile(r"\bpid \d+\b"), "pid PID"),
    (re.compile(r"(:PORT(?:/mcp)? +)\d+$", re.MULTILINE), r"\1PID"),
    # How much of the last word is left of a line that is cut depends on the digits of the port before it.
    (re.compile(r"(:PORT\b[^\n]*\W)\w+… \("), r"\1… ("),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4})*-?…"), "ID…"),
    (re.compile(r"\[(\d+)\] \d+"), r"[\1] PID"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"(state|client_id|code_challenge|elicitation_id|nonce)=[\w~.%-]+"), r"\1=…"),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?(\.\d+)?([+-]\d\d:\d\d|Z)?"), "TIME"),
    (re.compile(r"(/[\w.@~-]+)+/(?=default\b|state\b|here\b)"), "…/"),
    (re.compile(r"^(date: ).+$", re.MULTILINE), r"\1TIME"),
    (re.compile(r"[ \t]+\n"), "\n"),
)


_ADDRESS = (
    '{}=$(workshop status --json | python3 -c "import json, sys; '
    "print(next(w['url'] for w in json.load(sys.stdin)['data']['workloads'] if w['name'] == '{}'))\")"
)


@dataclass(frozen=True)
class Settings:
    """The terminal of a performance, and the secrets that must not be shown on it.

    `window`, if there is one, gives the rows and columns instead, which may change.
    """

    columns: int = COLUMNS
    rows: int = ROWS
    window: Callable[[], tuple[int, int]] | None = None
    term: str = "xterm-256color"
    secrets: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None


@contextmanager
def opened(script: Script, settings: Settings, show: Callable[[str], None]) -> Iterator[Shell]:
    """A shell after the setup, whose output goes to `show`; the cleanup runs whatever happens."""
    output = _Output(Masked(settings.secrets, show))
    size = settings.window or (lambda: (settings.rows, settings.columns))
    shell = Shell(output.write, size, settings.term, settings.environment, settings.folder)
    try:
        player.quietly(script.setup, shell)
        player.quietly([_ADDRESS.format(name, of) for name, of in script.addresses.items()], shell)
        output.show()
        shell.send("\r")
        shell.wait(10)
        yield shell
        output.hide()
        player.quietly(script.cleanup, shell)
    except BaseException:
        output.hide()
        player.abandon(script.cleanup, shell)
        raise
    finally:
        shell.close()


def record(script: Script, settings: Settings, file: Path, *, speed: float) -> float:
    """Record a performance at a person's speed as an asciicast; its length in seconds."""
    with writing(file) as opened_file:
        recorder = Recorder(opened_file, script.title, columns=settings.columns, rows=settings.rows)

        def mark(step: Step) -> None:
            recorder.marker(step.name)

        with opened(script, settings, recorder.output) as shell:
            player.play(script, shell, Pace(speed, mark=mark))
        recorder.end(0)
        return recorder.seconds


def verify(script: Script, secrets: Sequence[str], *, update: bool = False) -> Sequence[str]:
    """Perform at full speed on a plain terminal; the lines that differ from the golden text.

    With `update` the output becomes the golden text. Raises UsageError if there is none yet.
    """
    shown: list[str] = []
    with _separate_environment() as (environment, folder):
        # On a dumb terminal, progress is written as plain lines in the same order, not animated.
        settings = Settings(
            columns=_WIDE, term="dumb", secrets=secrets, environment=environment, folder=folder
        )
        alone = script.model_copy(update={"cleanup": (*script.cleanup, "workshop teardown")})
        with opened(alone, settings, shown.append) as shell:
            player.play(script, shell, Pace())
    text = normalised("".join(shown))
    if update:
        replace_file(script.golden, text.encode())
        return []
    if not script.golden.is_file():
        raise UsageError(
            f"The demo `{script.name}` has no golden text yet",
            hint=f"`workshop demo verify {script.name} --update` writes what is shown now",
        )
    return difference(script.golden.read_text(encoding="utf-8"), text)


@contextmanager
def _separate_environment() -> Iterator[tuple[dict[str, str], Path]]:
    """A separate state, ports and settings, so that a verification does not touch a running instance."""
    with tempfile.TemporaryDirectory(prefix="workshop-demo-") as name:
        home, folder = Path(name) / "state", Path(name) / "here"
        folder.mkdir()
        (folder / ".env").touch()  # the checkout's own is not read then
        ports = {workload: free_port() for workload in _WORKLOADS}
        yield (
            {
                "WORKSHOP_HOME": str(home),
                "WORKSHOP_BACKEND": "embedded",
                "WORKSHOP_PORT": " ".join(f"{workload}={port}" for workload, port in ports.items()),
                "PRACTICE_PORT": str(ports["practice-github"]),
            },
            folder,
        )


def chosen(script: Script, first: str | None, skip: Collection[str]) -> tuple[int, set[int]]:
    """The number of the first step, and the numbers of those to skip, from numbers or names."""
    return (_number(script, first) if first else 1), {_number(script, name) for name in skip}


def _number(script: Script, name: str) -> int:
    for step in script.steps:
        if name in {step.name, str(step.number)}:
            return step.number
    raise UsageError(
        f"The demo `{script.name}` has no step `{name}`",
        hint=f"It has 1 to {len(script.steps)}: `workshop demo list {script.name}` shows them",
    )


class Recorder:
    """Writes an asciicast v3: a header, then a JSON line for each output and step.

    Source: https://docs.asciinema.org/manual/asciicast/v3/
    """

    def __init__(
        self,
        file: TextIO,
        title: str,
        *,
        columns: int,
        rows: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = file
        self._clock = clock
        self._begun = self._last = clock()
        header = {
            "version": 3,
            "term": {"cols": columns, "rows": rows, "type": "xterm-256color"},
            "timestamp": int(time.time()),
            "title": title,
        }
        self._file.write(json.dumps(header) + "\n")

    @property
    def seconds(self) -> float:
        """How long the recording is until its last event."""
        return self._last - self._begun

    def output(self, text: str) -> None:
        """Note what the terminal was given to show."""
        self._event("o", text)

    def marker(self, label: str) -> None:
        """Note where a step begins."""
        self._event("m", label)

    def end(self, code: int) -> None:
        """Note how it ended."""
        self._event("x", str(code))

    def _event(self, kind: str, data: str) -> None:
        now = self._clock()
        self._file.write(json.dumps([round(now - self._last, 3), kind, data], ensure_ascii=False) + "\n")
        self._last = now


class _Output:
    """Shows the steps of a demo only, not its setup and cleanup."""

    def __init__(self, masked: "Masked") -> None:
        self._masked = masked
        self._shown = False

    def write(self, text: str) -> None:
        if self._shown:
            self._masked.write(text)

    def show(self) -> None:
        self._shown = True

    def hide(self) -> None:
        self._masked.flush()
        self._shown = False


class Masked:
    """Passes text on with `***` for each secret; holds back what may be the beginning of one."""

    def __init__(self, secrets: Sequence[str], pass_on: Callable[[str], None]) -> None:
        # The longest first: one secret may contain another.
        self._secrets = sorted((secret for secret in secrets if secret), key=len, reverse=True)
        self._pass_on = pass_on
        self._held = ""

    def write(self, text: str) -> None:
        """Take the next piece of text."""
        self._held += text
        for secret in self._secrets:
            self._held = self._held.replace(secret, "***")
        held = max((self._beginning(secret) for secret in self._secrets), default=0)
        end = len(self._held) - held
        if end:
            self._pass_on(self._held[:end])
        self._held = self._held[end:]

    def flush(self) -> None:
        """Pass on what was held back: nothing more comes."""
        if self._held:
            self._pass_on(self._held)
        self._held = ""

    def _beginning(self, secret: str) -> int:
        """How many characters of `secret` the held text ends with."""
        longest = min(len(secret) - 1, len(self._held))
        return next((length for length in range(longest, 0, -1) if self._held.endswith(secret[:length])), 0)


def normalised(text: str) -> str:
    """The text with a word for each value that differs from run to run, such as a time or a port."""
    for pattern, word in _NORMAL:
        text = pattern.sub(word, text)
    return text.strip() + "\n"


def difference(golden: str, shown: str) -> Sequence[str]:
    """The unified diff of two texts, line by line; empty when they agree."""
    lines = difflib.unified_diff(
        golden.splitlines(), shown.splitlines(), "golden text", "shown now", lineterm="", n=2
    )
    return list(lines)
