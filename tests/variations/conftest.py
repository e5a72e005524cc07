"""Variations in temporary directories: a person's own state is not touched, and every process ends."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from workshop.core.console import Console, Progress
from workshop.lab.process import strays


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state directory and a working directory of the test's own; nothing may run in it at the end."""
    monkeypatch.setenv("WORKSHOP_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "home"
    left = list(strays(tmp_path))
    for process in left:
        process.kill()
    assert left == []


@pytest.fixture
def quiet() -> Iterator[Progress]:
    """Progress that nobody sees."""
    with Console(io.StringIO(), io.StringIO()).progress() as progress:
        yield progress
