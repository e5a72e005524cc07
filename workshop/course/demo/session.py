"""One performance of a demo: its shell, what goes before, the steps, what goes after."""

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from workshop.core.errors import UsageError
from workshop.core.ports import free_port
from workshop.course.demo import golden, player
from workshop.course.demo.cast import Recorder
from workshop.course.demo.masking import Masked
from workshop.course.demo.player import Pace
from workshop.course.demo.script import Script, Step
from workshop.course.demo.shell import Shell

_WORKLOADS = ("github-remote", "workshop", "practice-github")
_WIDE = 500  # nothing is wrapped, whatever the length of a time or a port
COLUMNS, ROWS = 100, 30


@dataclass(frozen=True)
class Stage:
    """What a performance is given: the size and kind of its terminal, and what must not be seen."""

    columns: int = COLUMNS
    rows: int = ROWS
    term: str = "xterm-256color"
    secrets: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None


@contextmanager
def opened(script: Script, stage: Stage, show: Callable[[str], None]) -> Iterator[Shell]:
    """A shell with the setup done, whose output goes to `show`; the cleanup is run whatever happens."""
    curtain = _Curtain(Masked(stage.secrets, show))
    size = (stage.rows, stage.columns)
    shell = Shell(curtain.write, size, stage.term, stage.environment, stage.folder)
    try:
        player.quietly(script.setup, shell)
        curtain.rise()
        shell.send("\r")
        shell.wait(10)
        yield shell
        curtain.fall()
        player.quietly(script.cleanup, shell)
    except BaseException:
        curtain.fall()
        player.abandon(script.cleanup, shell)
        raise
    finally:
        shell.close()


def record(script: Script, stage: Stage, file: Path, *, speed: float) -> float:
    """Perform at a person's speed into an asciicast; how long it is, in seconds."""
    with file.open("w", encoding="utf-8") as opened_file:
        recorder = Recorder(opened_file, script.title, columns=stage.columns, rows=stage.rows)

        def mark(step: Step) -> None:
            recorder.marker(step.name)

        with opened(script, stage, recorder.output) as shell:
            player.play(script, shell, Pace(speed, mark=mark))
        recorder.end(0)
        return recorder.seconds


def verify(script: Script, secrets: Sequence[str], *, update: bool = False) -> Sequence[str]:
    """Perform at full speed on a plain terminal; what differs from the golden text, none if it agrees.

    With `update` the golden text becomes what is shown now. Raises UsageError when there is none yet.
    """
    shown: list[str] = []
    with _apart() as (environment, folder):
        # A dumb terminal: what is animated on stage is written as plain lines here, in the same order.
        stage = Stage(columns=_WIDE, term="dumb", secrets=secrets, environment=environment, folder=folder)
        alone = replace(script, cleanup=(*script.cleanup, "workshop teardown"))
        with opened(alone, stage, shown.append) as shell:
            player.play(script, shell, Pace())
    text = golden.normalised("".join(shown))
    if update:
        script.golden.write_text(text, encoding="utf-8")
        return []
    if not script.golden.is_file():
        raise UsageError(
            f"The demo `{script.name}` has no golden text yet", hint="`--update` writes what is shown now"
        )
    return golden.difference(script.golden.read_text(encoding="utf-8"), text)


@contextmanager
def _apart() -> Iterator[tuple[dict[str, str], Path]]:
    """A state, ports and settings of its own: a verification touches nothing that is up."""
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
    """The number of the first step and of those to leave out, from numbers or names."""
    return (_number(script, first) if first else 1), {_number(script, name) for name in skip}


def _number(script: Script, name: str) -> int:
    for step in script.steps:
        if name in {step.name, str(step.number)}:
            return step.number
    raise UsageError(
        f"The demo `{script.name}` has no step `{name}`",
        hint=f"It has 1 to {len(script.steps)}: `workshop demo list {script.name}` tells them",
    )


class _Curtain:
    """Keeps what happens before and after the demo from the audience."""

    def __init__(self, masked: Masked) -> None:
        self._masked = masked
        self._up = False

    def write(self, text: str) -> None:
        if self._up:
            self._masked.write(text)

    def rise(self) -> None:
        self._up = True

    def fall(self) -> None:
        self._masked.flush()
        self._up = False
