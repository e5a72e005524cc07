"""Sealed records: what the file shows, who may take, and when they are gone."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers.gateway.harness import Clock
from workshop.auth.vault import SealedRecords, Vault
from workshop.core.errors import UsageError

KEY = b"a key of the tests, long enough for all"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "private" / "records.sqlite"


@pytest.fixture
def records(path: Path, clock: Clock) -> Iterator[SealedRecords]:
    with closing(SealedRecords(str(path), Vault(KEY), clock)) as found:
        yield found


def test_what_was_put_is_found_under_its_kind_and_key(records: SealedRecords) -> None:
    records.put("grant", "learner", {"token": "one"})
    records.put("grant", "learner", {"token": "two"})
    assert records.get("grant", "learner") == {"token": "two"}
    assert records.get("grant", "mentor") is None
    assert records.get("leg", "learner") is None
    assert records.all("grant") == [{"token": "two"}]


def test_neither_key_nor_value_can_be_read_from_the_files(records: SealedRecords, path: Path) -> None:
    records.put("grant", "the-key-of-learner", {"token": "the-token-of-learner"})
    files = [file.read_bytes() for file in path.parent.iterdir()]
    assert not [data for data in files if b"of-learner" in data]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_record_is_taken_once_even_by_two_at_a_time(path: Path) -> None:
    stores = [SealedRecords(str(path), Vault(KEY)) for _ in range(2)]
    for number in range(20):
        stores[0].put("link", str(number), {"number": number})
    taken: list[object] = []

    def take(store: SealedRecords) -> None:
        taken.extend(found for number in range(20) if (found := store.take("link", str(number))))

    threads = [threading.Thread(target=take, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    assert sorted(taken, key=str) == sorted(({"number": number} for number in range(20)), key=str)


def test_what_has_expired_is_not_there(records: SealedRecords, clock: Clock) -> None:
    records.put("link", "one", {"a": 1}, seconds=600)
    records.put("link", "two", {"b": 2}, seconds=600)
    clock.now += 600
    assert records.get("link", "one") is None
    assert records.take("link", "two") is None
    assert records.all("link") == []


@pytest.mark.parametrize(
    ("vault", "found"),
    [
        (Vault(b"another key, long enough for all of it"), None),
        (Vault(KEY, bound_to="elsewhere"), None),
        (Vault(KEY), {"token": "one"}),
    ],
    ids=["another key", "another place", "the same"],
)
def test_only_the_key_that_sealed_it_opens_it(
    records: SealedRecords, path: Path, vault: Vault, found: object
) -> None:
    records.put("grant", "learner", {"token": "one"})
    with closing(SealedRecords(str(path), vault)) as others:
        assert others.get("grant", "learner") == found


def test_a_file_that_is_no_store_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear all, this is not a database, though it is long enough to look like one. " * 20)
    with pytest.raises(UsageError, match="cannot be used"):
        SealedRecords(str(path), Vault(KEY))
