"""What a learner has done is there again in the next terminal, and losing it is said."""

import json
from pathlib import Path

import pytest

from workshop.course.progress import ProgressFile


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKSHOP_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def progress(home: Path, warnings: list[str]) -> ProgressFile:
    return ProgressFile(warnings.append)


def test_what_was_done_is_read_back_as_it_was(progress: ProgressFile, warnings: list[str]) -> None:
    with progress.change() as standing:
        standing.touch(2).ran = True
        standing.part(2).exercise(1).solved = True
        standing.part(2).hints["a_check"] = 3
        standing.folder = "/somewhere"
    again = ProgressFile(warnings.append).read()
    assert (again, warnings) == (standing, [])
    assert again.part(2).ran
    assert again.part(2).touched > 0


def test_the_file_is_its_owners_alone_and_outside_what_teardown_removes(
    progress: ProgressFile, home: Path
) -> None:
    with progress.change():
        pass
    assert (home / "progress.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("damaged", "why"),
    [
        ("{", "It is not JSON: "),
        ("[]", "It is not a JSON object)"),
        ("{}", "Another version of `workshop` wrote it)"),
        ('{"version": 2, "parts": {}, "folder": ""}', "Another version of `workshop` wrote it)"),
        ('{"version": 1, "parts": {"1": {}}, "folder": ""}', "Something is missing in it)"),
        ('{"version": 1, "parts": {"1": 5}, "folder": ""}', "`parts.1` is not a table)"),
        ('{"version": 1, "parts": {}, "folder": 7}', "`folder` is not text)"),
        ("\xff", "It is not UTF-8 text)"),
    ],
)
def test_a_damaged_file_is_put_aside_and_reported_and_nothing_fails(
    progress: ProgressFile, home: Path, warnings: list[str], damaged: str, why: str
) -> None:
    home.mkdir()
    (home / "progress.json").write_bytes(damaged.encode("latin-1"))
    assert progress.read().parts == {}
    assert (home / "progress.damaged.json").read_bytes() == damaged.encode("latin-1")
    (warning,) = warnings
    assert warning.startswith(f"Your progress could not be read ({why}")
    assert str(home / "progress.damaged.json") in warning
    with progress.change() as standing:
        standing.touch(1).ran = True
    assert progress.read().part(1).ran
    assert len(warnings) == 1, "told once"


def test_a_disk_that_refuses_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    monkeypatch.setenv("WORKSHOP_HOME", str(in_the_way / "state"))
    warnings: list[str] = []
    with ProgressFile(warnings.append).change() as standing:
        standing.touch(1)
    assert "cannot be saved" in warnings[-1]


def test_two_terminals_lose_nothing_of_each_other(progress: ProgressFile, warnings: list[str]) -> None:
    other = ProgressFile(warnings.append)
    with progress.change() as standing:
        standing.part(1).ran = True
    with other.change() as standing:
        standing.part(2).ran = True
    kept = json.loads(progress._path.read_text(encoding="utf-8"))
    assert [number for number, part in kept["parts"].items() if part["ran"]] == ["1", "2"]


def test_it_can_be_forgotten(progress: ProgressFile) -> None:
    assert not progress.forget()
    with progress.change() as standing:
        standing.touch(1)
    assert progress.forget()
    assert progress.read().parts == {}
