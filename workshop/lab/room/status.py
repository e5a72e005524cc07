"""The state of a room: each seat's progress, its pods, and what is wrong, with the remedy.

It takes one list of each kind for the whole room, however many seats it has.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from workshop.core.files import parsed_json
from workshop.core.seats import seat_numbers
from workshop.core.text import moment, one_line, rough_time
from workshop.lab.cluster.readiness import OPERATOR
from workshop.lab.cluster.workload_state import (
    OperatorView,
    blocks,
    is_leaving,
    is_ready,
    newest,
    origin_of,
    replicas,
    troubles,
)
from workshop.lab.kube.client import Event, Kube, event_of
from workshop.lab.kube.objects import (
    Object,
    annotations_of,
    conditions_of,
    is_being_deleted,
    labels_of,
    name_of,
    namespace_of,
    number,
    text,
)
from workshop.lab.room.objects import PERSON, RECORD, ROOM, SEAT, TOKEN_UNTIL, seat_namespace
from workshop.lab.room.progress import PROGRESS, Progress
from workshop.lab.room.record import absent
from workshop.toolhive.known_messages import Message, recognise
from workshop.toolhive.manifests import TOOLHIVE_API

_CONTROLLERS, _WORKLOADS = ("Deployment", "StatefulSet"), ("MCPServer", "MCPRemoteProxy")
_LISTS = (
    ("v1", "Pod"),
    *(("apps/v1", kind) for kind in _CONTROLLERS),
    *((TOOLHIVE_API, kind) for kind in _WORKLOADS),
)
_INSTALL = "`workshop room create` installs it again, and changes nothing else"
# 300 s is the default toleration of `node.kubernetes.io/unreachable`.
_NODE = "Kubernetes moves its pods after 5 minutes; `kubectl get nodes` shows whether it returns"
_LONGEST = 160


@dataclass(frozen=True)
class Problem:
    """What is wrong, and what to do about it."""

    what: str
    fix: str


@dataclass(frozen=True)
class SeatStatus:
    """One seat; `at` is when its owner's last command wrote its progress, in RFC 3339, and may be empty."""

    seat: str
    namespace: str
    person: str
    part: int
    passed: int
    checks: Sequence[str]
    at: str
    ready: int
    pods: int
    problems: Sequence[Problem]

    @property
    def label(self) -> str:
        """The seat and its person, for a list of what is wrong."""
        return f"Seat {self.seat} ({self.person})" if self.person else f"Seat {self.seat}"


@dataclass(frozen=True)
class SharedStatus:
    """What all seats use: the operator, the practice GitHub, or a node that is not ready."""

    name: str
    ready: int
    pods: int
    problems: Sequence[Problem]

    @property
    def label(self) -> str:
        """Its name, for a list of what is wrong."""
        return self.name


@dataclass(frozen=True)
class RoomStatus:
    """A room: its seats in their order, and what they share."""

    room: str
    seats: Sequence[SeatStatus]
    shared: Sequence[SharedStatus]

    @property
    def problems(self) -> Sequence[tuple[str, Problem]]:
        """Everything that is wrong, each with the label of what it is about."""
        shared = [(each.label, problem) for each in self.shared for problem in each.problems]
        return [*shared, *((seat.label, problem) for seat in self.seats for problem in seat.problems)]

    @property
    def summary(self) -> str:
        """The sum in one line."""
        parts = sorted({seat.part for seat in self.seats if seat.part}, reverse=True)
        counts = [f"{sum(seat.part == part for seat in self.seats)} in part {part}" for part in parts]
        waiting = sum(not seat.part for seat in self.seats)
        counts += [f"{waiting} not started"] if waiting else []
        passed = sum(seat.passed for seat in self.seats)
        wrong = len({label for label, _ in self.problems})
        end = f"{wrong} {'needs' if wrong == 1 else 'need'} help" if wrong else "nothing is wrong"
        return (
            f"Room {self.room}: {len(self.seats)} seats, {', '.join(counts)}; {passed} checks passed; {end}"
        )


def look(kube: Kube, room: str) -> RoomStatus:
    """The state of a room; raises UsageError if the cluster has no such room."""
    record = kube.get("v1", "ConfigMap", RECORD, room)
    if record is None:
        raise absent(room)
    return _Look(kube, room).room(record)


def ago(at: str, now: datetime | None = None) -> str:
    """How long ago a moment in RFC 3339 was, such as `5 min ago`; empty for another text."""
    then = moment(at)
    if then is None:
        return ""
    # Negative if the seat's clock runs ahead of this one: shown as now.
    minutes = round(((now or datetime.now(UTC)) - then).total_seconds() / 60)
    return f"{rough_time(minutes)} ago" if minutes > 0 else "just now"


class _Look:
    """One look at everything that a room has, by namespace."""

    def __init__(self, kube: Kube, room: str) -> None:
        self._kube = kube
        self._room = room
        spaces = kube.list("v1", "Namespace", None, {ROOM: room})
        self._spaces = {name_of(space): space for space in spaces}
        found = [each for version, kind in _LISTS for each in kube.list(version, kind)]
        self._operator = _grouped(
            found, lambda each: text(labels_of(each), "app.kubernetes.io/name") == OPERATOR
        )
        self._objects = _grouped(found, lambda each: namespace_of(each) in self._spaces)
        notes = kube.list("v1", "ConfigMap", None, {ROOM: room})
        self._progress = {namespace_of(note): note for note in notes if name_of(note) == PROGRESS}
        # The normal events of a class that works are many, and do not explain any fault.
        warnings = kube.list("v1", "Event", None, fields="type=Warning")
        self._events = _grouped(warnings, lambda each: namespace_of(each) in self._spaces)
        self._lost = {name_of(node) for node in kube.list("v1", "Node") if _is_lost(node)}

    def room(self, record: Object) -> RoomStatus:
        """The seats that exist, and those that the record counts and that are gone."""
        counted = text(record, "data", "seats")
        # A record that was edited by hand must not end the report.
        wanted = seat_numbers(int(counted) if counted.isdecimal() else 0)
        there = [text(labels_of(space), SEAT) for space in self._spaces.values()]
        # By length first: seat 100 comes after 99.
        seats = sorted({*wanted, *filter(None, there)}, key=lambda seat: (len(seat), seat))
        people = _people(record)
        return RoomStatus(self._room, [self._seat(seat, people.get(seat)) for seat in seats], self._shared())

    def _seat(self, seat: str, person: object) -> SeatStatus:
        namespace = seat_namespace(self._room, seat)
        space = self._spaces.get(namespace)
        pods = newest(self._pods(self._objects, namespace))
        progress = Progress.read(self._progress.get(namespace))
        return SeatStatus(
            seat,
            namespace,
            one_line(text(annotations_of(space), PERSON) or str(person or ""), 40),
            progress.part,
            len(progress.checks),
            progress.checks,
            progress.at,
            sum(map(is_ready, pods)),
            len(pods),
            list(self._problems_of_seat(seat, space, namespace)),
        )

    def _problems_of_seat(self, seat: str, space: Object | None, namespace: str) -> Iterator[Problem]:
        if space is None or is_being_deleted(space):
            state = "is being deleted" if space else "is gone"
            create = f"`workshop room create {self._room}` makes it again"
            yield Problem(f"Its namespace `{namespace}` {state}", create)
            return
        until = moment(text(annotations_of(space), TOKEN_UNTIL))
        if until is not None and until < datetime.now(UTC):
            renew = f"`workshop room renew {self._room} {seat}`, and give the person the new file"
            yield Problem(f"Its token expired {ago(until.isoformat())}", renew)
        yield from self._problems(self._objects, namespace)

    def _shared(self) -> Sequence[SharedStatus]:
        rows = [self._row(OPERATOR, self._operator, space) for space in self._operator]
        rows += [] if rows else [SharedStatus(OPERATOR, 0, 0, [Problem("It is not installed", _INSTALL)])]
        own = [each for each in self._objects.get(self._room, ()) if each["kind"] == "Deployment"]
        rows += [self._row(name_of(each), self._objects, self._room) for each in own]
        used = {text(each, "spec", "nodeName") for space in self._objects.values() for each in space}
        rows += [
            SharedStatus(f"node {name}", 0, 0, [Problem("The node is not ready", _NODE)])
            for name in sorted(self._lost & used)
        ]
        return rows

    def _row(self, name: str, objects: Mapping[str, Sequence[Object]], namespace: str) -> SharedStatus:
        pods = newest(self._pods(objects, namespace))
        problems = list(self._problems(objects, namespace))
        return SharedStatus(name, sum(map(is_ready, pods)), len(pods), problems)

    def _problems(self, objects: Mapping[str, Sequence[Object]], namespace: str) -> Iterator[Problem]:
        """What is wrong with the workloads in a namespace, each thing once."""
        events = [event_of(each) for each in self._events.get(namespace, ())]
        for each in objects.get(namespace, ()):
            if each["kind"] in _WORKLOADS:
                for reason, message, _ in OperatorView(each, {}, "").refusals():
                    look = f"Look closer: `kubectl describe {each['kind']} {name_of(each)} -n {namespace}`"
                    yield self._problem(f"{name_of(each)}: {reason}", [("operator", message)], message, look)
            elif each["kind"] in _CONTROLLERS:
                yield from self._blocked(each, events)
        for pod in newest(self._pods(objects, namespace)):
            noted = [event for event in events if event.about == name_of(pod)]
            for trouble in troubles(pod, noted):
                crashed = trouble.reason == "CrashLoopBackOff"
                verb, last = ("logs", " --previous") if crashed else ("describe pod", "")
                look = f"Look closer: `kubectl {verb} {name_of(pod)} -n {namespace}{last}`"
                # The pause between two pulls has no reason of its own; the event of the pull has.
                messages = [(origin_of(event.reason, event.message), event.message) for event in noted[-5:]]
                messages.insert(0, (trouble.origin, trouble.summary))
                yield self._problem(trouble.reason, messages, trouble.message, look)
            if text(pod, "spec", "nodeName") in self._lost:
                yield Problem(f"Its node `{text(pod, 'spec', 'nodeName')}` is not ready", _NODE)

    def _blocked(self, controller: Object, events: Sequence[Event]) -> Iterator[Problem]:
        """Why a controller makes no pods; a StatefulSet has no condition for that, only events."""
        found = [(reason, message) for reason, message, _ in blocks(controller)]
        lacking = number(controller, "status", "replicas") < replicas(controller)
        if controller["kind"] == "StatefulSet" and lacking:
            about = [event for event in events if event.about == name_of(controller)]
            found += [(event.reason, event.message) for event in about if event.reason == "FailedCreate"][-1:]
        for reason, message in found:
            look = f"Look closer: `kubectl get events -n {namespace_of(controller)}`"
            yield self._problem(reason, [(origin_of(reason, message), message)], message, look)

    def _problem(self, reason: str, messages: Sequence[Message], message: str, otherwise: str) -> Problem:
        known = recognise(messages)
        advice = known.advice(own_nodes=self._kube.own_nodes) if known else otherwise
        return Problem(one_line(f"{reason}: {message}" if message else reason, _LONGEST), advice)

    def _pods(self, objects: Mapping[str, Sequence[Object]], namespace: str) -> Sequence[Object]:
        return [each for each in objects.get(namespace, ()) if each["kind"] == "Pod" and not is_leaving(each)]


def _grouped(found: Iterable[Object], wanted: Callable[[Object], bool]) -> Mapping[str, Sequence[Object]]:
    """The wanted objects by their namespace."""
    groups: dict[str, list[Object]] = {}
    for each in found:
        if wanted(each):
            groups.setdefault(namespace_of(each), []).append(each)
    return groups


def _people(record: Object) -> Mapping[str, object]:
    """The names by seat of the room's record, for the seats whose namespace is gone."""
    try:
        found = parsed_json(text(record, "data", "people"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_lost(node: Object) -> bool:
    ready = conditions_of(node).get("Ready")
    return ready is not None and not ready.holds
