"""What `room status` finds in a room, and that it asks once for each kind."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.lab.cluster.workloads import SERVER, condition, controller, event, pod, remote_proxy
from tests.lab.kube.fake_cluster import FakeCluster
from tests.lab.room.rooms import ROOM, Object, config_map, put_room, seat_space, space, within
from workshop.core.errors import UsageError
from workshop.lab.cluster.readiness import OPERATOR
from workshop.lab.room.objects import ROOM as OF_ROOM
from workshop.lab.room.objects import SEAT as OF_SEAT
from workshop.lab.room.objects import TOKEN_UNTIL
from workshop.lab.room.status import RoomStatus, SeatStatus, ago, look

SEAT = f"{ROOM}-02"
PULL = 'failed to pull image "ghcr.io/stacklok/toolhive/proxyrunner:v0.63.0": '
QUOTA = 'pods "github-remote-1" is forbidden: exceeded quota: workshop-seat, requested: pods=1, used: pods=4'
LIMITED = {"conditions": [condition("ReplicaFailure", holds=True, reason="FailedCreate", message=QUOTA)]}
EMPTY = {"replicas": 0, "readyReplicas": 0}


@pytest.fixture
def room(cluster: FakeCluster) -> FakeCluster:
    """Three seats and an operator, and a pod of the operator."""
    put_room(cluster)
    labels = {"app.kubernetes.io/name": OPERATOR}
    for made in (controller(OPERATOR), pod("operator-1", of=OPERATOR)):
        made["metadata"]["labels"] = labels
        cluster.put(made)
    return cluster


def seat_of(found: RoomStatus, seat: str = "02") -> SeatStatus:
    return next(each for each in found.seats if each.seat == seat)


def test_a_room_without_progress_has_its_seats_and_people(room: FakeCluster) -> None:
    found = look(room.kube, ROOM)
    assert [(each.seat, each.person, each.part, each.passed) for each in found.seats] == [
        ("01", "Person 1", 0, 0),
        ("02", "Person 2", 0, 0),
        ("03", "Person 3", 0, 0),
    ]
    assert [(each.name, each.ready, each.pods, each.problems) for each in found.shared] == [
        (OPERATOR, 1, 1, [])
    ]
    assert found.summary == "Room monday: 3 seats, 3 not started; 0 checks passed; nothing is wrong"


def test_progress_and_pods_of_each_seat_are_its_own(room: FakeCluster) -> None:
    data = {"part": "4", "checks": "3/one\n4/two", "passed": "2", "at": "2026-11-21T08:00:00+00:00"}
    room.put(config_map("workshop-progress", SEAT, data, {OF_ROOM: ROOM, OF_SEAT: "02"}))
    room.put(within(pod(), SEAT))
    room.put(within(pod("workshop-0", of=SERVER, kind="StatefulSet", ready=False), SEAT))
    found = look(room.kube, ROOM)
    seat = seat_of(found)
    assert (seat.part, seat.passed, seat.checks, seat.ready, seat.pods) == (4, 2, ("3/one", "4/two"), 1, 2)
    assert (seat_of(found, "01").pods, seat_of(found, "03").passed) == (0, 0)
    assert found.summary == (
        "Room monday: 3 seats, 1 in part 4, 2 not started; 2 checks passed; nothing is wrong"
    )


def test_each_deployment_of_a_seat_has_its_own_newest_pod(room: FakeCluster) -> None:
    at = ("2026-11-21T08:00:00Z", "2026-11-21T08:01:00Z", "2026-11-21T08:02:00Z")
    stuck = ("CrashLoopBackOff", "back-off 40s")
    room.put(within(pod("old", ready=False, waiting=stuck, metadata={"creationTimestamp": at[0]}), SEAT))
    new = pod("new", revision="two", metadata={"creationTimestamp": at[1]})
    room.put(within(new, SEAT))
    later = pod("later", of=SERVER, ready=False, waiting=stuck, metadata={"creationTimestamp": at[2]})
    room.put(within(later, SEAT))
    seat = seat_of(look(room.kube, ROOM))
    assert (seat.ready, seat.pods) == (1, 2), "the newest pod of each of the two Deployments"
    assert [problem.fix for problem in seat.problems] == [
        f"Look closer: `kubectl logs later -n {SEAT} --previous`"
    ]


def test_each_kind_is_listed_once_however_many_seats_there_are(room: FakeCluster) -> None:
    def requests(seats: int) -> list[str]:
        put_room(room, seats)
        room.api.seen.clear()
        look(room.kube, ROOM)
        return [line for line in room.api.seen if "/api/v1?" not in line and "/apis/" not in line]

    few, many = requests(3), requests(40)
    assert len(look(room.kube, ROOM).seats) == 40
    assert few == many
    assert len(few) == len(set(few))


@pytest.mark.parametrize(
    ("broken", "what", "fix"),
    [
        (
            [pod(ready=False, waiting=("ErrImagePull", PULL + "manifest unknown"))],
            "ErrImagePull: failed to pull image",
            "There is no such image: check its name and tag in the manifest or the override",
        ),
        (
            [
                pod(ready=False, waiting=("ImagePullBackOff", "Back-off pulling image")),
                event("github-remote-1", "Failed", PULL + "403 Forbidden"),
            ],
            "ImagePullBackOff: Back-off pulling image",
            "The registry refused the nodes: make the image public, or give the namespace a pull secret",
        ),
        (
            [pod(ready=False, waiting=("CrashLoopBackOff", "back-off 10s"), restarts=3)],
            "CrashLoopBackOff: it ended 3 times, last with Error (1)",
            f"Look closer: `kubectl logs github-remote-1 -n {SEAT} --previous`",
        ),
        (
            [controller(status={**EMPTY, **LIMITED})],
            "FailedCreate: pods",
            "The namespace's quota is used up: delete what is not needed, or ask its owner for more",
        ),
        (
            [controller(SERVER, "StatefulSet", status=EMPTY), event(SERVER, "FailedCreate", QUOTA)],
            "FailedCreate: pods",
            "The namespace's quota is used up: delete what is not needed, or ask its owner for more",
        ),
        (
            [
                remote_proxy(
                    "Failed",
                    [
                        condition(
                            "OIDCConfigRefValidated",
                            holds=False,
                            reason="Bad",
                            message="resourceUrl is required",
                        )
                    ],
                )
            ],
            "github-remote: Bad: resourceUrl is required",
            "`oidcConfigRef` needs `audience` and `resourceUrl`, the same text in both",
        ),
        (
            [remote_proxy("Failed", [condition("Valid", holds=False, reason="Odd", message="it is odd")])],
            "github-remote: Odd: it is odd",
            f"Look closer: `kubectl describe MCPRemoteProxy github-remote -n {SEAT}`",
        ),
        (
            [
                pod(
                    ready=False,
                    conditions=[
                        {
                            "type": "PodScheduled",
                            "status": "False",
                            "reason": "Unschedulable",
                            "message": "0/3 nodes are available: 3 Insufficient cpu",
                        }
                    ],
                )
            ],
            "Unschedulable: 0/3 nodes are available",
            "The cluster has no capacity left: ask its owner for more, or delete what is not needed",
        ),
    ],
    ids=[
        "no image",
        "refused",
        "crash",
        "quota",
        "quota of a StatefulSet",
        "refused by the operator",
        "refused for an unknown reason",
        "no room",
    ],
)
def test_what_is_wrong_with_a_seat_is_shown_with_the_fix(
    room: FakeCluster, broken: list[Object], what: str, fix: str
) -> None:
    for each in broken:
        room.put(within(each, SEAT))
    kube = room.kube
    kube.own_nodes = False
    found = look(kube, ROOM)
    (problem,) = seat_of(found).problems
    assert problem.what.startswith(what)
    assert problem.fix.startswith(fix)
    assert [seat.problems for seat in found.seats if seat.seat != "02"] == [[], []]
    assert found.summary.endswith("; 1 needs help")


def test_a_namespace_that_somebody_deleted_is_a_seat_that_is_gone(room: FakeCluster) -> None:
    room.drop("Namespace", SEAT)
    seat = seat_of(look(room.kube, ROOM))
    assert [(each.what, each.fix) for each in seat.problems] == [
        ("Its namespace `monday-02` is gone", "`workshop room create monday` makes it again")
    ]
    assert seat.person == "Person 2", "the record knows it"


def test_an_expired_token_and_one_that_still_holds(room: FakeCluster) -> None:
    now = datetime.now(UTC)
    room.put(seat_space("01", **{TOKEN_UNTIL: (now - timedelta(hours=3)).isoformat()}))
    room.put(seat_space("03", **{TOKEN_UNTIL: (now + timedelta(hours=3)).isoformat()}))
    found = look(room.kube, ROOM)
    (problem,) = seat_of(found, "01").problems
    assert (problem.what, problem.fix) == (
        "Its token expired 3 h ago",
        "`workshop room renew monday 01`, and give the person the new file",
    )
    assert seat_of(found, "03").problems == []


def test_a_lost_node_is_named_and_so_are_the_seats_on_it(room: FakeCluster) -> None:
    for name, status in (("one", "True"), ("two", "Unknown"), ("unused", "Unknown")):
        ready = {"type": "Ready", "status": status}
        room.put(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name},
                "status": {"conditions": [ready]},
            }
        )
    room.put({**within(pod(), SEAT), "spec": {"nodeName": "two"}})
    room.put({**within(pod(), f"{ROOM}-01"), "spec": {"nodeName": "one"}})
    found = look(room.kube, ROOM)
    assert [each.what for each in seat_of(found).problems] == ["Its node `two` is not ready"]
    assert seat_of(found, "01").problems == []
    assert [each.name for each in found.shared] == [OPERATOR, "node two"]


def test_an_operator_that_starts_again_is_not_ready_and_one_that_is_gone_is_a_problem(
    room: FakeCluster,
) -> None:
    starting = pod("operator-1", of=OPERATOR, ready=False)
    starting["metadata"]["labels"] = {"app.kubernetes.io/name": OPERATOR}
    room.put(starting)
    (operator,) = look(room.kube, ROOM).shared
    assert (operator.ready, operator.pods, operator.problems) == (0, 1, [])
    room.drop("Deployment", OPERATOR)
    room.drop("Pod", "operator-1")
    (operator,) = look(room.kube, ROOM).shared
    assert [each.what for each in operator.problems] == ["It is not installed"]


def test_another_room_and_a_strangers_namespace_are_not_in_it(room: FakeCluster) -> None:
    put_room(room, 2, "tuesday")
    room.put(space("monday-99"))
    bad = pod(ready=False, waiting=("ErrImagePull", PULL + "manifest unknown"))
    for namespace in ("tuesday-01", "monday-99", "default"):
        room.put(within(bad, namespace))
    data = {"part": "4", "checks": "4/two", "passed": "1", "at": ""}
    room.put(config_map("workshop-progress", "monday-99", data, {OF_ROOM: ROOM, OF_SEAT: "01"}))
    found = look(room.kube, ROOM)
    assert found.summary == "Room monday: 3 seats, 3 not started; 0 checks passed; nothing is wrong"
    assert [bool(each.problems) for each in look(room.kube, "tuesday").seats] == [True, False]


def test_a_room_that_is_not_there_is_an_error(room: FakeCluster) -> None:
    with pytest.raises(UsageError) as caught:
        look(room.kube, "friday")
    assert caught.value.what == "There is no room `friday` on this cluster"
    assert "kubectl get namespaces -l workshop/room" in caught.value.hint


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (timedelta(seconds=20), "just now"),
        (timedelta(minutes=5), "5 min ago"),
        (timedelta(minutes=150), "2 h ago"),
        (timedelta(days=3), "3 d ago"),
        (timedelta(seconds=-90), "just now"),
    ],
)
def test_a_moment_is_shown_as_time_before_now(before: timedelta, words: str) -> None:
    now = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
    assert ago((now - before).isoformat(), now) == words


@pytest.mark.parametrize("at", ["", "yesterday", "2026-11-29T12:00:00"])
def test_a_text_that_is_not_a_moment_is_shown_as_nothing(at: str) -> None:
    assert ago(at) == ""


def test_seats_are_in_the_order_of_their_numbers(room: FakeCluster) -> None:
    put_room(room, 101)
    assert [each.seat for each in look(room.kube, ROOM).seats[-3:]] == ["99", "100", "101"]
