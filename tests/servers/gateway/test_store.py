"""Single use, decided by the store: in one process, in two, and after a crash."""

import asyncio
import locale
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from workshop.auth.store import (
    AuthorizationRequest,
    Client,
    Code,
    Grant,
    PendingSignIn,
    Rotation,
    StoreFullError,
    UpstreamTokens,
)
from workshop.auth.store_sqlite import SqliteStore
from workshop.auth.vault import Vault
from workshop.core.errors import UsageError

NOW = 1000.0
UPSTREAM = UpstreamTokens("practice_upstream", "practice_upstream_refresh", None)
ASKED = AuthorizationRequest(
    "c", "http://localhost/cb", True, "s", ("openid",), "http://localhost/", "x" * 43
)
CODE = Code("http://localhost/cb", "x" * 43, NOW + 600)


def vault() -> Vault:
    return Vault(b"s" * 32)


def grant(tsid: str = "t1", expires: float = NOW + 600) -> Grant:
    return Grant(
        tsid, "c", "u", ("openid", "email"), "http://localhost/", expires, "Name", "e@x.test", UPSTREAM
    )


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(":memory:" if request.param == "memory" else str(tmp_path / "s.sqlite"), vault())
    yield made
    made.close()


def client(number: int = 0, registered: float = NOW) -> Client:
    return Client(
        f"c{number}", "Näme", ("http://localhost/cb",), ("authorization_code",), ("openid",), None, registered
    )


def test_a_client_comes_back_as_it_was(store: SqliteStore) -> None:
    store.add_client(client(), limit=1)
    assert store.client("c0", NOW) == client()
    assert store.client("c1", NOW) is None


DAY = 24 * 3600


def test_a_client_nobody_used_lives_for_a_day_and_a_used_one_for_thirty_from_its_last_use(
    store: SqliteStore,
) -> None:
    for number in (0, 1):
        store.add_client(client(number), limit=9)
    store.use_client("c1", NOW + 10)
    lives = {DAY - 1: ["c0", "c1"], DAY: ["c1"], 30 * DAY + 9: ["c1"], 30 * DAY + 10: []}
    for later, living in lives.items():
        assert [name for name in ("c0", "c1") if store.client(name, NOW + later)] == living


def test_at_the_bound_nobody_registers_and_nobody_goes_until_one_has_expired(store: SqliteStore) -> None:
    store.add_client(client(), limit=2)
    store.add_client(client(1, registered=NOW + 60), limit=2)
    with pytest.raises(StoreFullError) as full:
        store.add_client(client(2, registered=NOW + 100), limit=2)
    assert full.value.seconds == DAY - 100
    assert store.client("c0", NOW + 100)
    store.add_client(client(2, registered=NOW + DAY), limit=2)
    store.add_client(client(3, registered=NOW + DAY), limit=0)  # no bound


def test_clients_with_a_document_are_counted_by_themselves(store: SqliteStore) -> None:
    described = replace(client(), client_id="https://client.example/about.json")
    store.keep_client(described, now=NOW, limit=1)
    store.add_client(client(1), limit=1)
    store.keep_client(described, now=NOW, limit=1)  # known already
    with pytest.raises(StoreFullError):
        store.keep_client(replace(described, client_id="https://other.example/"), now=NOW, limit=1)


def test_a_ticket_is_spent_once(store: SqliteStore) -> None:
    assert store.spend_ticket("x", expires=NOW, limit=9)
    assert not store.spend_ticket("x", expires=NOW, limit=9)


@pytest.fixture
def turkish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The locale in which the small letter of I is not i, from this machine or from `localedef`."""
    before = locale.setlocale(locale.LC_CTYPE)
    if shutil.which("localedef"):
        made = tmp_path / "tr_TR.UTF-8"
        subprocess.run(["localedef", "-i", "tr_TR", "-f", "UTF-8", made], capture_output=True, check=False)
        monkeypatch.setenv("LOCPATH", str(tmp_path))
    try:
        locale.setlocale(locale.LC_CTYPE, "tr_TR.UTF-8")
    except locale.Error:
        pytest.skip("This machine has no Turkish locale, and cannot make one")
    yield
    locale.setlocale(locale.LC_CTYPE, before)


@pytest.mark.usefixtures("turkish")
def test_a_ticket_is_spent_once_in_turkish(store: SqliteStore) -> None:
    assert store.spend_ticket("x", expires=NOW, limit=9)
    assert not store.spend_ticket("x", expires=NOW, limit=9)


def test_a_pending_sign_in_is_given_out_once_and_in_time(store: SqliteStore) -> None:
    pending = PendingSignIn(ASKED, "flow", "digest", "verifier")
    store.add_pending("state", pending, expires=NOW + 1, limit=9)
    assert store.take_pending("state", NOW) == pending
    assert store.take_pending("state", NOW) is None
    store.add_pending("late", pending, expires=NOW + 1, limit=9)
    assert store.take_pending("late", NOW + 1) is None


def test_a_pending_sign_in_can_be_looked_at_while_it_waits(store: SqliteStore) -> None:
    pending = PendingSignIn(ASKED, "flow", "digest", "verifier")
    store.add_pending("state", pending, expires=NOW + 1, limit=9)
    assert store.pending("state", NOW) == store.pending("state", NOW) == pending
    assert store.pending("state", NOW + 1) is None
    assert store.take_pending("state", NOW) == pending
    assert store.pending("state", NOW) is None


def test_a_user_of_the_upstream_is_one_subject(store: SqliteStore) -> None:
    assert store.subject("github", "1") == store.subject("github", "1")
    assert len({store.subject("github", "1"), store.subject("github", "2"), store.subject("other", "1")}) == 3


def test_a_code_is_taken_once_and_a_replay_revokes(store: SqliteStore) -> None:
    store.open_grant(grant(), "code", CODE)
    assert store.take_code("code", NOW) == (grant(), CODE)
    assert store.grant("t1") is not None
    assert store.take_code("code", NOW) is None
    assert store.grant("t1") is None


def test_an_unknown_or_expired_code_revokes_nothing(store: SqliteStore) -> None:
    store.open_grant(grant(), "code", CODE)
    assert store.take_code("other", NOW) is None
    assert store.take_code("code", NOW + 600) is None
    assert store.grant("t1") is not None


def test_a_late_replay_of_a_code_still_revokes(store: SqliteStore) -> None:
    store.open_grant(grant(expires=NOW + 5000), "code", CODE)
    store.take_code("code", NOW)
    store.purge(NOW + 4000)
    assert store.take_code("code", NOW + 4000) is None
    assert store.grant("t1") is None


def rotate(store: SqliteStore, token: str, successor: str, now: float = NOW) -> Rotation:
    return store.rotate(token, successor, now=now, expires=NOW + 9000, grace=20)


@pytest.fixture
def refreshing(store: SqliteStore) -> SqliteStore:
    store.open_grant(grant(), "code", CODE)
    store.add_refresh("r1", "t1", expires=NOW + 1000)
    return store


def test_a_refresh_token_rotates_and_may_be_repeated_until_its_successor_is_used(
    refreshing: SqliteStore,
) -> None:
    assert rotate(refreshing, "r1", "r2") is Rotation.ROTATED
    assert rotate(refreshing, "r1", "r2", NOW + 20) is Rotation.REPEATED
    assert rotate(refreshing, "r2", "r3", NOW + 20) is Rotation.ROTATED
    assert rotate(refreshing, "r1", "r2", NOW + 20) is Rotation.REUSED
    assert refreshing.grant("t1") is None
    assert rotate(refreshing, "r3", "r4") is Rotation.UNKNOWN


def test_a_refresh_token_repeated_late_ends_the_family(refreshing: SqliteStore) -> None:
    rotate(refreshing, "r1", "r2")
    assert rotate(refreshing, "r1", "r2", NOW + 21) is Rotation.REUSED
    assert rotate(refreshing, "r2", "r3") is Rotation.UNKNOWN


def test_an_expired_refresh_token_is_unknown(refreshing: SqliteStore) -> None:
    assert rotate(refreshing, "r1", "r2", NOW + 1000) is Rotation.UNKNOWN
    assert refreshing.refresh_grant("r1", NOW + 1000) is None


def test_a_rotation_keeps_the_grant_alive(refreshing: SqliteStore) -> None:
    rotate(refreshing, "r1", "r2")
    refreshing.purge(NOW + 8999)
    assert refreshing.grant("t1") is not None
    refreshing.purge(NOW + 9000)
    assert refreshing.grant("t1") is None


def test_upstream_tokens_are_replaced_only_if_nobody_was_faster(store: SqliteStore) -> None:
    store.open_grant(grant(), "code", CODE)
    fresh = UpstreamTokens("new", None, NOW)
    assert store.replace_upstream("t1", UPSTREAM, fresh)
    assert not store.replace_upstream("t1", UPSTREAM, UPSTREAM)
    kept = store.grant("t1")
    assert kept is not None
    assert (kept.upstream, kept.name) == (fresh, "Name")


def test_a_session_belongs_to_who_was_first_until_it_ends_or_expires(store: SqliteStore) -> None:
    for number in (1, 2):
        store.open_grant(grant(f"t{number}"), f"code{number}", CODE)
        store.bind_session("s", f"t{number}", expires=NOW + 10, limit=9)
    assert store.session_owner("s", NOW) == "t1"
    assert store.session_owner("s", NOW + 10) is None
    store.revoke("t1")
    assert store.session_owner("s", NOW) is None


def test_a_grant_keeps_its_newest_sessions_only(store: SqliteStore) -> None:
    store.open_grant(grant(), "code", CODE)
    for number in range(5):
        store.bind_session(f"s{number}", "t1", expires=NOW + number + 1, limit=2)
    owners = [store.session_owner(f"s{number}", NOW) for number in range(5)]
    assert owners == [None, None, None, "t1", "t1"]


def test_purging_deletes_what_has_expired_and_clients_nobody_used(store: SqliteStore) -> None:
    store.add_client(client(0), limit=9)
    store.add_client(client(1, registered=NOW + 90_000), limit=9)
    store.open_grant(grant(), "code", CODE)
    store.spend_ticket("x", expires=NOW + 1, limit=9)
    store.purge(NOW + 90_000)
    assert store.client("c0", NOW) is None
    assert store.client("c1", NOW + 90_000) is not None
    assert store.grant("t1") is None
    assert store.spend_ticket("x", expires=NOW, limit=1)


def test_t118_the_file_holds_digests_and_ciphertext_only(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    store = SqliteStore(str(path), vault())
    store.open_grant(grant(), "the-code", CODE)
    store.add_refresh("the-refresh-token", "t1", expires=NOW + 10)
    rotate(store, "the-refresh-token", "the-successor")
    store.add_pending(
        "the-state", PendingSignIn(ASKED, "flow", "browser", "the-verifier"), expires=NOW, limit=9
    )
    store.spend_ticket("the-ticket", expires=NOW, limit=9)
    store.bind_session("the-session", "t1", expires=NOW, limit=9)
    dump = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    store.close()
    secrets = ["the-code", "the-refresh-token", "the-successor", "the-state", "the-verifier", "the-ticket"]
    for secret in [*secrets, "the-session", "practice_upstream", "e@x.test"]:
        assert secret.encode() not in dump, secret


def test_the_file_is_its_owner_s_alone(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "s.sqlite"
    store = SqliteStore(str(path), vault())
    store.spend_ticket("x", expires=NOW, limit=9)
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    store.close()
    assert modes == {"s.sqlite": 0o600, "s.sqlite-wal": 0o600, "s.sqlite-shm": 0o600}


@pytest.mark.parametrize("content", [b"this is not a database, whatever its name", b"\x00" * 4096])
def test_a_file_that_is_no_store_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.sqlite"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        SqliteStore(str(path), vault())
    assert "Remove the file" in caught.value.hint


def test_a_store_on_a_full_disk_is_not_to_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(connection: Any, _path: str) -> None:
        connection.execute("PRAGMA max_page_count = 1")
        connection.execute("CREATE TABLE more (than, one, page)")

    path = tmp_path / "s.sqlite"
    monkeypatch.setattr("workshop.auth.store._prepare", prepare)
    with pytest.raises(UsageError, match="cannot be used") as caught:
        SqliteStore(str(path), vault())
    assert caught.value.hint == f"Free some space on the disk with `{path}`"


def test_a_store_of_another_version_is_refused(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "s.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(UsageError, match="version 99"):
        SqliteStore(str(path), vault())


def test_a_grant_sealed_with_a_lost_secret_has_no_upstream_token(tmp_path: Path) -> None:
    path = str(tmp_path / "s.sqlite")
    first = SqliteStore(path, vault())
    first.open_grant(grant(), "code", CODE)
    first.close()
    lost = SqliteStore(path, Vault(b"another" * 8))
    found = lost.grant("t1")
    lost.close()
    assert found is not None
    assert found.upstream is None
    rotated = SqliteStore(path, Vault(b"another" * 8, b"s" * 32))
    found = rotated.grant("t1")
    rotated.close()
    assert found is not None
    assert found.upstream == UPSTREAM


TAKER = """
import sys
from workshop.auth.store_sqlite import SqliteStore
from workshop.auth.vault import Vault
store = SqliteStore(sys.argv[1], Vault(b"s" * 32))
print("ready", flush=True)
sys.stdin.readline()
taken = [store.take_pending(f"state{n}", 1000.0) is not None for n in range(200)]
rotate = lambda n: store.rotate(f"r{n}", f"successor{n}", now=1000.0, expires=2000.0, grace=20).value
rotated = [rotate(n) for n in range(200)]
print(sum(taken), rotated.count("rotated"), rotated.count("repeated"), flush=True)
"""


async def test_t121_two_processes_on_one_store_give_each_thing_out_once(tmp_path: Path) -> None:
    path = str(tmp_path / "s.sqlite")
    store = SqliteStore(path, vault())
    for number in range(200):
        store.open_grant(grant(f"t{number}"), f"code{number}", CODE)
        store.add_refresh(f"r{number}", f"t{number}", expires=NOW + 1000)
        store.add_pending(f"state{number}", PendingSignIn(ASKED, "f", "b", "v"), expires=NOW + 1, limit=999)
    takers = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", TAKER, path), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for taker in takers:
        assert taker.stdout is not None
        assert await taker.stdout.readline() == b"ready\n"
    said = await asyncio.gather(*(taker.communicate(b"go\n") for taker in takers))
    counts = [[int(number) for number in out.split()] for out, _ in said]
    store.close()
    assert [sum(column) for column in zip(*counts, strict=True)] == [200, 200, 200]


def test_changes_that_belong_together_are_made_all_or_not_at_all(store: SqliteStore) -> None:
    def opened() -> None:
        store.open_grant(grant("t1"), "code", CODE)
        store.add_refresh("refresh", "t1", expires=NOW + 600)
        assert store.refresh_grant("refresh", NOW) == grant("t1")

    def opened_in_vain() -> None:
        with store.together():
            opened()
            raise KeyError

    with pytest.raises(KeyError):
        opened_in_vain()
    assert (store.grant("t1"), store.refresh_grant("refresh", NOW)) == (None, None)
    with store.together():
        opened()
    assert store.refresh_grant("refresh", NOW) == grant("t1")
