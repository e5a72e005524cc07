"""Faults of a room on a real API server: it ends in the middle, and people delete and do what they like."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.kube.api_server import ApiServer, assets, pods_that_start, running_controllers
from tests.lab.room.bench import Facilitator, at_home, count
from tests.lab.room.rooms import space
from tests.lab.room.test_attack import KINDS, put_operator, pytestmark
from workshop.core.errors import CredentialsError, UsageError
from workshop.lab.kube.client import Kube, wait_for
from workshop.lab.kube.connection import Connection, UnreachableError
from workshop.lab.kube.objects import Object, name_of
from workshop.lab.room import seat_file
from workshop.lab.room.objects import SEAT_KINDS
from workshop.lab.room.remove import RemoveReport
from workshop.lab.room.seat import require_access
from workshop.lab.room.status import RoomStatus, look

__all__ = ["pytestmark"]
CONTROLLERS = (
    *("deployment-controller", "replicaset-controller", "namespace-controller"),
    *("garbage-collector-controller", "resourcequota-controller"),
)
SEATS = 6


@dataclass(frozen=True)
class Lab:
    """A cluster with the definitions and an operator, and a facilitator."""

    server: ApiServer
    kube: Kube
    facilitator: Facilitator


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    programs, folder = assets(), tmp_path_factory.mktemp("api-server")
    assert programs is not None
    with pytest.MonkeyPatch.context() as patch, ApiServer(programs, folder) as server:
        kube = Kube(server.admin, "test", look_seconds=0.1)
        put_operator(kube)
        patch.setenv("PATH", f"{programs}:/usr/bin:/bin")
        controllers = running_controllers(programs, server.admin, CONTROLLERS)
        with at_home(folder, server.admin), controllers, pods_that_start(kube):
            yield Lab(server, kube, Facilitator(folder / "files", "test"))


@pytest.fixture
def before(lab: Lab) -> Iterator[Any]:
    """What is on the cluster before a test, and again after it."""
    counted = count(lab.kube, KINDS)
    yield counted
    for name in ("monday", "tuesday"):
        lab.facilitator.remove(name, keep_operator=True)
    assert count(lab.kube, KINDS) == counted


@contextmanager
def the_server_ends_at(call: int, server: ApiServer) -> Iterator[None]:
    """Kill the API server at this call of the block, and start it again after the block."""
    calls, turn, request = iter(range(call)), threading.Lock(), Connection.request

    def counting(connection: Connection, doing: str, method: str, path: str, **params: object) -> bytes:
        if "pods" not in path:  # the kubelet's
            with turn:
                if next(calls, None) is None:
                    server.stop()
        return request(connection, doing, method, path, **params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "request", counting)
        yield
    server.start()


def seats_with_everything(kube: Kube, name: str) -> int:
    """How many namespaces of the room have each of the objects of a seat."""
    found = [
        {one["metadata"].get("namespace", name_of(one)) for one in kube.list(*kind)} for kind in SEAT_KINDS
    ]
    return sum(each.startswith(f"{name}-") for each in set.intersection(*found))


@pytest.mark.parametrize("call", [25, 60, 110])
def test_a_room_whose_server_ended_while_it_was_created_is_completed(
    lab: Lab, before: Any, call: int
) -> None:
    del before
    with the_server_ends_at(call, lab.server), pytest.raises(UnreachableError) as caught:
        lab.facilitator.create("monday", SEATS)
    assert "Run the same command again" in caught.value.hint
    report = lab.facilitator.create("monday", SEATS)
    assert seats_with_everything(lab.kube, "monday") == SEATS
    for seat in report.seats:
        require_access(seat_file.read(Path(seat.file)), kube_of(seat.file))


def kube_of(file: str) -> Kube:
    return Kube(Path(file), seat_file.read(Path(file)).context, own_nodes=False)


@pytest.mark.parametrize("call", [12, 24])
def test_a_room_whose_server_ended_while_it_was_removed_goes_completely(
    lab: Lab, before: Any, call: int
) -> None:
    lab.facilitator.create("monday", SEATS)
    with the_server_ends_at(call, lab.server), pytest.raises(UnreachableError) as caught:
        lab.facilitator.remove("monday", keep_operator=True)
    assert "it removes what is left" in caught.value.hint
    lab.facilitator.remove("monday", keep_operator=True)
    assert count(lab.kube, KINDS) == before


def test_a_namespace_that_was_deleted_by_hand_is_shown_and_made_again(lab: Lab, before: Any) -> None:
    del before
    lab.facilitator.create("monday", 2)
    lab.kube.delete("v1", "Namespace", "monday-02")
    found = look(lab.kube, "monday")
    assert next(problem.what for _, problem in found.problems).startswith("Its namespace `monday-02` is")
    await_gone(lab.kube, "monday-02")
    report = lab.facilitator.create("monday")
    assert [bool(seat.made) for seat in report.seats] == [False, True]
    require_access(seat_file.read(Path(report.seats[1].file)), kube_of(report.seats[1].file))


def await_gone(kube: Kube, name: str) -> None:
    wait_for(
        "the deletion",
        lambda: kube.get("v1", "Namespace", name),
        done=lambda found: found is None,
        failed=lambda _: "",
        seconds=180,
    )


def test_a_token_that_the_server_refuses_names_renew_and_create_makes_another(lab: Lab, before: Any) -> None:
    del before
    file = lab.facilitator.create("monday", 1).seats[0].file
    lab.kube.delete("v1", "ServiceAccount", "seat", "monday-01")
    with pytest.raises(CredentialsError, match="does not accept the token of seat 01") as caught:
        require_access(seat_file.read(Path(file)), kube_of(file))
    assert "`workshop room renew monday`" in caught.value.hint
    lab.facilitator.create("monday")
    require_access(seat_file.read(Path(file)), kube_of(file))


def test_a_seat_that_exceeds_its_quota_is_shown_with_the_reason(lab: Lab, before: Any) -> None:
    del before
    lab.facilitator.create("monday", 2)
    lab.kube.patch("v1", "ResourceQuota", "workshop-seat", "monday-02", {"spec": {"hard": {"pods": "0"}}})
    lab.kube.apply(too_much("monday-02"))
    found = wait_for(
        "the refusal",
        lambda: look(lab.kube, "monday"),
        done=lambda status: bool(status.seats[1].problems),
        failed=lambda _: "",
        seconds=180,
    )
    problem = found.seats[1].problems[0]
    assert "exceeded quota: workshop-seat" in problem.what
    assert problem.fix
    assert found.seats[0].problems == []


def too_much(namespace: str) -> Object:
    """A Deployment as a seat's proxy is, in the limits of the seat except for its quota."""
    safe = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": "one", "image": "lab/one:1", "securityContext": safe}
    of_pod = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    labels = {"app": "one"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [container], "securityContext": of_pod},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "one", "namespace": namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }


def test_two_facilitators_at_once_make_one_room(lab: Lab, before: Any, tmp_path: Path) -> None:
    del before
    people = [lab.facilitator, Facilitator(tmp_path / "second", "test")]
    started, reports = threading.Barrier(2), dict[int, Any]()

    def create(number: int) -> None:
        started.wait(60)
        reports[number] = people[number].create("monday", SEATS)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert reports[0].id == reports[1].id
    made = [sum(bool(seat.made) for seat in report.seats) for report in reports.values()]
    assert sorted(made) == [0, SEATS]
    assert seats_with_everything(lab.kube, "monday") == SEATS


def test_two_rooms_with_a_strangers_namespace_between_them(lab: Lab, before: Any) -> None:
    del before
    lab.kube.apply(space("monday-02"))
    with pytest.raises(UsageError, match="Namespace `monday-02` exists, and is not a seat"):
        lab.facilitator.create("monday", 3)
    lab.kube.apply(space("monday-99", {"workshop/room": "monday", "workshop/seat": "99"}))
    lab.facilitator.create("monday", 1)
    lab.facilitator.create("tuesday", 1)
    statuses: list[RoomStatus] = [look(lab.kube, name) for name in ("monday", "tuesday")]
    assert [len(status.seats) for status in statuses] == [2, 1]
    report: RemoveReport = lab.facilitator.remove("monday", keep_operator=True)
    assert sorted(report.namespaces) == ["monday", "monday-01"]
    left = {name_of(one) for one in lab.kube.list("v1", "Namespace")}
    assert {"monday-02", "monday-99", "tuesday", "tuesday-01"} <= left
    for name in ("monday-02", "monday-99"):
        lab.kube.delete("v1", "Namespace", name)
        await_gone(lab.kube, name)
