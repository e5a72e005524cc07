"""A seat's Role: its commands use each right of it and no other, and a missing one is named at first."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.cluster import bench
from tests.lab.cluster.fake_operator import install_operator
from tests.lab.room.attendee import Attendee
from tests.lab.room.bench import Facilitator
from tests.lab.room.fake_room import RoomEmulator
from tests.lab.room.rooms import node
from tests.lab.room.test_execute import part_4
from workshop.core.console import Console
from workshop.core.settings import Settings
from workshop.course import environment
from workshop.course.lessons import find_lessons
from workshop.course.logs import Logs
from workshop.lab.base import ClusterChoices
from workshop.lab.cluster import checks as cluster_checks
from workshop.lab.cluster.forwards import Forwards
from workshop.lab.cluster.readiness import OPERATOR
from workshop.lab.cluster.seats import rights_in, seat_rules
from workshop.lab.kube.client import Kube
from workshop.lab.kube.connection import ForbiddenError
from workshop.lab.room import progress
from workshop.lab.room.execute import as_seat

RULES = seat_rules(alone=False)
# What the commands need only when something is wrong, or leave to kubectl.
NOT_HERE = {
    "create pods/portforward": "kubectl port-forward",
    "get pods": "kubectl port-forward",
    "get services": "kubectl port-forward",
    "delete pods": "a pod that is stuck: tests/lab/cluster/test_readiness.py",
    "list events": "the diagnosis of a wait: tests/lab/cluster/test_readiness.py",
}


class Seated(Attendee):
    """An attendee with the file that a facilitator's `room create` made."""

    emulator: RoomEmulator

    def give(self, **_changes: object) -> Path:
        facilitator = Facilitator(self.directory.parent, "lab")
        self.file = Path(facilitator.create("monday", 1).seats[0].file)
        return self.file


@pytest.fixture
def seated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Seated]:
    made: list[RoomEmulator] = []

    class Noted(RoomEmulator):
        def __init__(self, *given: object) -> None:
            super().__init__(*given)  # type: ignore[arg-type]  # as the cluster makes it
            made.append(self)

    monkeypatch.setattr(bench, "OperatedEmulator", Noted)
    with bench.running_bench(tmp_path, young=False) as running, pytest.MonkeyPatch.context() as patch:
        install_operator(running.cluster)
        running.cluster.put(node("one"))
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "toolhive-system"}}
        running.cluster.kube.create(space)
        seat = Seated(tmp_path / "state", running)
        seat.emulator = made[0]
        patch.setattr(cluster_checks, "_ask", seat.ask)
        yield seat


def test_the_commands_of_a_seat_use_each_right_of_its_role_and_no_other(seated: Seated) -> None:
    seat = seated.join()
    seated.up()
    environment.status()
    Logs(None).last(5)
    with Console(seated.shown, seated.shown).progress() as shown:
        for lesson in find_lessons()[2:]:
            environment.submit(lesson, shown, Settings())
            environment.forward(lesson, shown, Settings())
            environment.ensure(lesson, shown, Settings())
        # The facilitator has another machine, on which these ports are free.
        Forwards(seated.directory, ClusterChoices().bounds).stop_all(shown)
    with as_seat(seat, part_4(), Console(seated.shown, seated.shown)):  # `room exec`
        pass
    for part in (3, 4):
        progress.write(Kube(seated.file, seat.context, own_nodes=False), seat.about, part, ("tools",))
    seated.cluster.drop("Deployment", OPERATOR, "toolhive-system")
    seated.cluster.api.finalizing |= {"mcpservers"}
    seated.limits = replace(seated.limits, removed=1)
    seated.teardown()
    granted = {f"{right.verb} {right.resource}" for right in rights_in(RULES)}
    assert granted - seated.emulator.used <= set(NOT_HERE)
    assert set(seated.emulator.refused) <= {"list deployments"}, "only the search for the operator"


def test_without_one_rule_join_names_what_is_missing(seated: Seated) -> None:
    role = seated.cluster.get("Role", "workshop-seat", "monday-01")
    assert role
    for absent in RULES:
        seated.cluster.put({**role, "rules": [rule for rule in role["rules"] if rule != absent]})
        with pytest.raises(ForbiddenError, match="seat 01 of room `monday` lacks rights") as caught:
            seated.join()
        for right in rights_in([absent]):
            assert right.verb in caught.value.why
            assert right.resource in caught.value.why
