"""What a seat's commands write for the facilitator, and that they never disturb the person who learns."""

import threading
from pathlib import Path

import pytest

from tests.lab.kube.fake_cluster import FakeCluster
from tests.lab.room.rooms import config_map
from workshop.core.ports import free_port
from workshop.lab.base import SEAT_FILE
from workshop.lab.room import progress
from workshop.lab.room.progress import PROGRESS, Progress, share, write
from workshop.lab.room.seat_file import Seat, SeatFile
from workshop.lab.room.seat_file import write as write_seat_file

SEAT = Seat(room="monday", seat="07", namespace="monday-07")


def data_of(cluster: FakeCluster) -> dict[str, str]:
    found = cluster.get("ConfigMap", PROGRESS, SEAT.namespace)
    assert found
    return dict(found["data"])


def test_a_command_replaces_its_own_parts_checks_and_leaves_the_others(cluster: FakeCluster) -> None:
    write(cluster.kube, SEAT, 0, None)
    assert data_of(cluster) | {"at": ""} == {"part": "0", "passed": "0", "checks": "", "at": ""}
    write(cluster.kube, SEAT, 4, None)
    write(cluster.kube, SEAT, 4, ("a_real_tool_is_called", "it_was_run"))
    write(cluster.kube, SEAT, 3, None)
    write(cluster.kube, SEAT, 3, ("it_answers",))
    write(cluster.kube, SEAT, 4, ("it_was_run",))
    found = data_of(cluster)
    assert Progress.read({"data": found}).at
    assert found | {"at": ""} == {
        "part": "4",
        "passed": "2",
        "checks": "3/it_answers\n4/it_was_run",
        "at": "",
    }
    labels = (cluster.get("ConfigMap", PROGRESS, SEAT.namespace) or {})["metadata"]["labels"]
    assert labels == {"workshop/room": "monday", "workshop/seat": "07"}


def test_only_names_and_counts_are_written(cluster: FakeCluster) -> None:
    write(cluster.kube, SEAT, 4, ("it_was_run",))
    assert set(data_of(cluster)) == {"part", "passed", "checks", "at"}


@pytest.mark.parametrize("part", ["", "-1", "12", "four", "٣", "None"])
def test_a_part_that_was_written_by_hand_does_not_break_the_table(part: str) -> None:
    found = config_map(PROGRESS, "monday-07", {"part": part, "checks": "x\n" * 900}, {})
    read = Progress.read(found)
    assert (read.part, len(read.checks)) == (0, 200)
    assert Progress.read(None) == Progress()


@pytest.fixture
def joined(tmp_path: Path) -> Path:
    """An instance's directory with a seat file, at whose address nothing answers."""
    seat = SeatFile(about=SEAT, cluster={"server": f"https://127.0.0.1:{free_port()}"}, token="made-up")
    write_seat_file(tmp_path / SEAT_FILE, seat)
    return tmp_path


def test_an_api_server_that_does_not_answer_is_not_waited_for(
    joined: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_MOST_SECONDS", 0.01)
    began, ended = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        began.set()
        ended.wait(60)

    monkeypatch.setattr(progress, "_write", hang)
    share(joined, 4)
    (writing,) = [each for each in threading.enumerate() if each.name == "share progress"]
    assert began.wait(60)
    assert writing.daemon
    ended.set()
    writing.join(60)


def test_a_damaged_seat_file_and_an_api_server_that_refuses_are_silent(
    tmp_path: Path, joined: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    share(tmp_path / "elsewhere", 4)
    share(joined, 4)
    (tmp_path / SEAT_FILE).write_text("[")
    share(tmp_path, 4)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("off", [True, False])
def test_the_setting_turns_it_off(joined: Path, monkeypatch: pytest.MonkeyPatch, *, off: bool) -> None:
    written: list[Path] = []
    monkeypatch.setattr(progress, "_write", lambda file, *_: written.append(file))
    monkeypatch.setenv(progress.SETTING, "0" if off else "1")
    share(joined, 4, ["it_was_run"])
    assert written == ([] if off else [joined / SEAT_FILE])
