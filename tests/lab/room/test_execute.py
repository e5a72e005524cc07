"""`room exec` reaches a seat as its owner's `up` left it, and leaves nothing behind."""

import io
import json
from pathlib import Path

import pytest

from tests.lab.room.attendee import Attendee, attendee, room_in, seat_at
from workshop.core.console import Console
from workshop.core.errors import PreflightError
from workshop.course.lessons import find_lessons
from workshop.lab import process
from workshop.lab.base import ClusterChoices, Deployment
from workshop.lab.cluster.forwards import Forwards
from workshop.lab.room.execute import as_seat

__all__ = ["attendee"]


def part_4() -> list[Deployment]:
    found = find_lessons()[3].deployment()
    assert found
    return [found]


def test_the_seat_is_reached_at_its_owners_ports_and_nothing_in_it_changes(
    attendee: Attendee, tmp_path: Path
) -> None:
    room_in(attendee.cluster, tmp_path / "made-by-the-room")
    attendee.join()
    attendee.up()
    console = Console(io.StringIO(), io.StringIO())
    with console.progress() as progress:  # the facilitator has another machine, where the ports are free
        Forwards(attendee.directory, ClusterChoices().bounds).stop_all(progress)
    asked, before = len(attendee.cluster.api.seen), attendee.objects()
    with as_seat(seat_at(attendee.server), part_4(), console) as home:
        assert home.user == "seat-07"
        record = json.loads((home.folder / "default" / "instance.json").read_text())
        for name in ("github-remote", "practice-github"):
            assert f"localhost:{attendee.ports[name]}" in record["endpoints"][name]
        states = process.read_states(home.folder / "default" / "workloads")
        assert set(states) == {"github-remote", "practice-github"}
        assert all(process.find(state) for state in states.values())
    assert not home.folder.exists()
    assert not any(process.find(state) for state in states.values())
    since = attendee.cluster.api.seen[asked:]
    assert [line for line in since if not line.startswith(("GET", "POST /apis/authorization"))] == []
    assert attendee.objects() == before


def test_a_seat_that_runs_nothing_is_named(attendee: Attendee) -> None:
    console = Console(io.StringIO(), io.StringIO())
    with pytest.raises(PreflightError) as caught, as_seat(seat_at(attendee.server), part_4(), console):
        pass
    assert caught.value.what == "Seat 07 does not run `github-remote`"
