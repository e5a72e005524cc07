"""What a facilitator hands out: new tokens, seat files in a folder or a zip file, and plain cards."""

import io
import json
import stat
import zipfile
from pathlib import Path

import pytest

from tests.lab.kube.fake_cluster import FakeCluster
from tests.lab.room.bench import Facilitator
from tests.lab.room.test_room import cluster, facilitator, stored
from workshop.core.console import Console
from workshop.core.errors import UsageError
from workshop.lab.room import handout, record, seat_file
from workshop.lab.room.handout import renew
from workshop.lab.room.objects import RECORD_SECRET
from workshop.lab.tools.run import Runner

__all__ = ["cluster", "facilitator"]  # fixtures


def test_renew_writes_new_tokens_for_the_seats_that_are_named(
    facilitator: Facilitator, cluster: FakeCluster
) -> None:
    report = facilitator.create("monday", 3)
    before = {seat.seat: seat_file.read(Path(seat.file)).token for seat in report.seats}
    with (
        Console(io.StringIO(), io.StringIO()).progress() as progress,
        record.open_site("monday", None, Runner()) as site,
    ):
        made = renew(site, ["02"], facilitator.handout("monday"), progress)
        with pytest.raises(UsageError, match="Room `monday` has no seat `9`"):
            renew(site, ["9"], facilitator.handout("monday"), progress)
    assert list(made) == ["02"]
    after = {seat.seat: seat_file.read(Path(seat.file)).token for seat in report.seats}
    assert [before[seat] == after[seat] for seat in before] == [True, False, True]


def test_the_files_of_an_earlier_room_of_the_same_name_are_replaced(facilitator: Facilitator) -> None:
    facilitator.create("monday", 1)
    facilitator.remove("monday")
    old = (facilitator.folder / "monday-seats" / "monday-01.kubeconfig").read_bytes()
    facilitator.create("monday", 1)
    assert (facilitator.folder / "monday-seats" / "monday-01.kubeconfig").read_bytes() != old


def test_a_zip_file_has_all_seat_files_and_is_private(facilitator: Facilitator, tmp_path: Path) -> None:
    path = tmp_path / "out" / "seats.zip"
    facilitator.handout = lambda name: handout.Handout(path, name)  # type: ignore[method-assign]
    facilitator.create("monday", 2)
    first = path.read_bytes()
    facilitator.create("monday", 3)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(io.BytesIO(first)) as older:
        assert sorted(archive.namelist()) == [
            "monday-01.kubeconfig",
            "monday-02.kubeconfig",
            "monday-03.kubeconfig",
        ]
        assert archive.read("monday-01.kubeconfig") == older.read("monday-01.kubeconfig")
        assert seat_file.parsed(archive.read("monday-03.kubeconfig")).about.seat == "03"


def test_cards_have_names_and_commands_and_no_secret(
    facilitator: Facilitator, cluster: FakeCluster, tmp_path: Path
) -> None:
    report = facilitator.create("monday", 2, people=["Ada <b>", "Grace"])
    room = record.read_room(cluster.kube, "monday")
    for name in ("cards.html", "cards.txt"):
        handout.write_cards(tmp_path / name, room, facilitator.handout("monday"))
    page, plain = (tmp_path / "cards.html").read_text(), (tmp_path / "cards.txt").read_text()
    assert "Ada &lt;b&gt;" in page
    assert "workshop join monday-02.kubeconfig" in page
    assert plain.splitlines()[:3] == ["Ada <b>", "Room monday, seat 01", "workshop join monday-01.kubeconfig"]
    for seat in report.seats:
        file = seat_file.read(Path(seat.file))
        assert file.about.practice
        for text in (page, plain):
            assert file.token not in text
            assert file.about.practice.record_key not in text


@pytest.mark.parametrize(
    ("text", "people"),
    [
        ("Ada\nGrace\n", ["Ada", "Grace"]),
        ("\ufeffEmail,Name\na@b,Ada\nc@d,Grace\n\n", ["Ada", "Grace"]),
        ('"Lovelace, Ada",x\n', ["Lovelace, Ada"]),
        ("name\nA\x1b[31mda\n", ["A\\x1b[31mda"]),
    ],
)
def test_a_list_of_people_is_read(text: str, people: list[str], tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(text)
    assert handout.read_people(tmp_path / "people.csv") == people


@pytest.mark.parametrize("data", [b"", b"name\n", b"\xff\xfe", None])
def test_a_list_of_people_that_cannot_be_used_is_reported(data: bytes | None, tmp_path: Path) -> None:
    if data is not None:
        (tmp_path / "people.csv").write_bytes(data)
    with pytest.raises(UsageError, match=r"people\.csv"):
        handout.read_people(tmp_path / "people.csv")


def test_no_secret_is_shown(facilitator: Facilitator, cluster: FakeCluster) -> None:
    report = facilitator.create("monday", 1)
    file = seat_file.read(Path(report.seats[0].file))
    shown = facilitator.shown.getvalue() + json.dumps(report, default=repr)
    for secret in (
        file.token,
        stored(cluster, *RECORD_SECRET),
        stored(cluster, "practice-github", "client-secret"),
    ):
        assert secret not in shown
