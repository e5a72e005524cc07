"""The command line in this process: exit code, stdout and stderr of one command."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from workshop.cli.main import main
from workshop.cli.terminal import console


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Workshop = Callable[..., Outcome]


@pytest.fixture
def workshop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Workshop]:
    """Run a command in an empty folder with an empty state directory."""
    monkeypatch.setenv("WORKSHOP_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("WORKSHOP_BACKEND", "embedded")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("workshop.core.settings.checkout_dir", lambda: None)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def run(*arguments: str) -> Outcome:
        console.cache_clear()
        code = main(arguments)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    yield run
    console.cache_clear()
    for number, handler in before.items():
        signal.signal(number, handler)
