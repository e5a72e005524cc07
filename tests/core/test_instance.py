"""The record of what is up survives, or is refused with the way out."""

from pathlib import Path

import pytest

from workshop.core.errors import DeadlineError, UsageError
from workshop.core.instance import Instance, Record


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKSHOP_HOME", str(tmp_path))
    return tmp_path


def test_what_was_saved_is_loaded_again() -> None:
    record = Record("embedded", "practice", {"a": 1}, {"a": "http://localhost:1"})
    Instance.load().save(record)
    loaded = Instance.load()
    assert loaded.record == record
    assert loaded.upstream == "practice"
    assert loaded.endpoints == {"a": "http://localhost:1"}


def test_nothing_saved_is_nothing_up() -> None:
    assert Instance.load().record is None
    assert Instance.load().endpoints == {}


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 99}', '{"version": 1, "strange": 2}', "\x00"])
def test_a_damaged_record_is_refused_and_teardown_is_named(home: Path, text: str) -> None:
    (home / "default").mkdir()
    (home / "default" / "instance.json").write_text(text)
    with pytest.raises(UsageError) as caught:
        Instance.load()
    assert "teardown" in caught.value.hint
    assert Instance.locate().directory == home / "default"


def test_a_second_command_waits_its_turn_and_then_reports_who_holds_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Instance, "lock_seconds", 0)
    instance = Instance.load()
    with (
        instance.lock(),
        pytest.raises(DeadlineError, match="still running"),
        Instance.load().lock(),
    ):
        pytest.fail("two commands hold the instance")


@pytest.mark.parametrize("name", ["second", "monday-07", "7", "a" * 40])
def test_a_named_instance_has_a_directory_of_its_own(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("WORKSHOP_INSTANCE", name)
    Instance.load().save(Record("embedded", "practice"))
    assert (Instance.load().directory, Instance.load().is_named) == (home / name, True)
    monkeypatch.delenv("WORKSHOP_INSTANCE")
    assert (Instance.load().record, Instance.load().is_named) == (None, False)


@pytest.mark.parametrize(
    "name",
    ["..", "../a", "a/b", "-a", "a-", "A", "a b", "a\nb", "é", "a" * 41, "page", "crashes", "rooms", "."],
)
def test_a_name_that_is_not_a_safe_folder_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("WORKSHOP_INSTANCE", name)
    for find in (Instance.load, Instance.locate):
        with pytest.raises(UsageError, match="cannot name an instance") as caught:
            find()
        assert "--instance second" in caught.value.hint
    assert list(home.iterdir()) == []
