"""The command line in this process: exit code, stdout and stderr of one command."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from workshop.cli.app import build_tree
from workshop.cli.main import main
from workshop.cli.terminal import console
from workshop.core.invocation import INSTANCE, UV_RUN
from workshop.course import lessons


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Workshop = Callable[..., Outcome]


@cache
def _tree_for(*_reasons: object) -> Any:
    return build_tree()


def tree(_given: object = ()) -> Any:
    """The command tree: a process builds it once, and here that would be most of what a command costs.

    It depends on the folder of the parts, which a test may replace in that module, and its help on how the
    commands are typed.
    """
    return _tree_for(vars(lessons)["parts_dir"](), os.environ.get(INSTANCE), os.environ.get(UV_RUN))


@pytest.fixture
def workshop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Workshop]:
    """Run a command in an empty folder with an empty state directory: those of the test's `instance`."""
    monkeypatch.setenv("WORKSHOP_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("WORKSHOP_BACKEND", "embedded")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("workshop.core.settings.checkout_dir", lambda: None)
    monkeypatch.setattr("workshop.cli.main.build_tree", tree)
    (tmp_path / "here").mkdir(exist_ok=True)
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
