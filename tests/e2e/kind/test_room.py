"""A room on a real cluster: two seats work at once, one is broken, one attacks another, and nothing stays."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.kind.conftest import SECONDS, Course
from tests.lab.tools.waiting import until
from workshop.core.seats import seat_user
from workshop.lab import process
from workshop.lab.pins import Pins

pytestmark = [pytest.mark.kind, pytest.mark.timeout(4 * SECONDS)]

SEATS = ("01", "02", "03", "04")
WORKING, BROKEN, ATTACKER = SEATS[:2], SEATS[2], SEATS[3]
NO_IMAGE = "registry.invalid/none:1"
# What a pod of a seat tries to connect to, by names in the cluster.
OWN = "the practice GitHub"
TARGETS = {
    "the server of seat 01": ("mcp-workshop.{room}-01", 8000),
    "the proxy of seat 01": ("mcp-workshop-proxy.{room}-01", 8080),
    "another namespace": ("mcp-workshop-proxy.{course}", 8080),
    OWN: ("practice-github.{room}", 8090),
}
# Prints a line for each round: which of the targets accept a connection.
CONNECT = """
import json, os, socket, threading
while True:
    found = {}
    for name, (host, port) in json.loads(os.environ["TARGETS"]).items():
        try:
            socket.create_connection((host, port), 3).close()
            found[name] = True
        except OSError:
            found[name] = False
    print(json.dumps(found), flush=True)
    threading.Event().wait(1)
"""
# Nothing but names: without an answer about them, a round would take minutes.
DENY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {}, policyTypes: [Egress], egress: [{ports: [{protocol: UDP, port: 53}]}]}
"""
# What comes and goes by itself.
PASSING = {"events", "events.events.k8s.io", "endpoints", "leases.coordination.k8s.io", "componentstatuses"}


@dataclass(frozen=True)
class Room:
    """A room on the cluster of a course that is up; its facilitator and people have states of their own."""

    course: Course
    name: str
    facilitator: Course
    people: Course
    files: Path

    def ok(self, who: Course, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command that must succeed."""
        done = who.run(*words, seconds=SECONDS)
        if done.returncode:
            shown = f"{done.stdout}\n{done.stderr}\n{self.course.seen()}"
            pytest.fail(f"workshop {' '.join(words)} ended with {done.returncode}\n{shown}")
        return done

    def create(self) -> None:
        """Create the room, or what it lacks, with the images that the cluster has already."""
        pins = Pins.load()
        images = (("mcp-server", pins.mcp_server), ("practice", pins.practice))
        overrides = [] if self.course.context else [f"--override={name}={image}" for name, image in images]
        where = [f"--context={self.context}", f"--to={self.files}", f"--timeout={SECONDS:.0f}"]
        self.ok(self.facilitator, "room", "create", self.name, f"--seats={len(SEATS)}", *where, *overrides)

    @property
    def context(self) -> str:
        return self.kubectl("config", "current-context").strip()

    def kubectl(self, *words: str, stdin: str = "") -> str:
        """What kubectl prints with the facilitator's rights."""
        return _kubectl(self.facilitator.kubeconfig, words, stdin)

    def as_seat(self, seat: str, *words: str, stdin: str = "") -> str:
        """What kubectl prints with the rights of a seat, in its namespace."""
        return _kubectl(self.files / f"{self.name}-{seat}.kubeconfig", words, stdin)

    def run(self, seat: str, *words: str) -> subprocess.CompletedProcess[str]:
        return self.ok(self.people, "--instance", f"seat-{seat}", *words)

    def status(self) -> Mapping[str, Any]:
        """The seats by their numbers, as `room status --json` has them."""
        found = json.loads(self.ok(self.facilitator, "room", "status", self.name, "--json").stdout)
        return {seat["seat"]: seat for seat in found["data"]["seats"]}

    def objects(self) -> Sequence[str]:
        """Every object of every kind that the cluster has, but what comes and goes by itself."""
        kinds = set(self.kubectl("api-resources", "--verbs=list", "--output=name").split()) - PASSING
        columns = "custom-columns=:.kind,:.metadata.namespace,:.metadata.name"
        found = self.kubectl("get", ",".join(sorted(kinds)), "-A", "--no-headers", f"--output={columns}")
        return sorted(found.splitlines())


def _kubectl(kubeconfig: Path, words: Sequence[str], stdin: str) -> str:
    argv = ["kubectl", "--kubeconfig", str(kubeconfig), *words]
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def room(deployed: Course, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    root = tmp_path_factory.mktemp("room")
    access = deployed.directory / "kubeconfig"
    facilitator = replace(deployed, home=root / "facilitator", kubeconfig=access)
    people = replace(deployed, home=root / "people")
    made = Room(deployed, f"{deployed.name}-room", facilitator, people, root / "seats")
    yield made
    try:
        facilitator.run("room", "remove", made.name)
    finally:
        for left in process.strays(people.home):
            process.end(left)


@pytest.fixture(scope="module")
def before(room: Room) -> Sequence[str]:
    """What the cluster has before the room."""
    return room.objects()


@pytest.fixture(scope="module")
def created(room: Room, before: Sequence[str]) -> Room:
    """The room with its seats: in one, something broken; in another, something that tries to connect."""
    assert before
    room.create()
    room.as_seat(BROKEN, "create", "--filename=-", stdin=server("broken", NO_IMAGE))
    names = {"room": room.name, "course": room.course.namespace}
    hosts = {
        name: (f"{host.format(**names)}.svc.cluster.local.", port) for name, (host, port) in TARGETS.items()
    }
    targets = [{"name": "TARGETS", "value": json.dumps(hosts)}]
    attack = {"name": "mcp", "command": ["python", "-c", CONNECT], "env": targets}
    record = json.loads(room.kubectl("get", "configmap", "workshop-room", "-n", room.name, "--output=json"))
    image = json.loads(record["data"]["images"])["mcp_server"]
    room.as_seat(ATTACKER, "create", "--filename=-", stdin=server("attack", image, attack))
    return room


def server(name: str, image: str, container: Mapping[str, Any] | None = None) -> str:
    """An `MCPServer`, whose container may be changed."""
    spec: dict[str, Any] = {
        "image": image,
        "transport": "streamable-http",
        "proxyPort": 8080,
        "mcpPort": 8000,
    }
    if container:
        spec["podTemplateSpec"] = {"spec": {"containers": [container]}}
    body = {"apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPServer", "metadata": {"name": name}}
    return yaml.safe_dump({**body, "spec": spec})


@pytest.fixture(scope="module")
def working(created: Room) -> Room:
    """Two seats have done parts 3 and 4 at once."""

    def work(seat: str) -> str:
        created.run(seat, "join", str(created.files / f"{created.name}-{seat}.kubeconfig"))
        created.run(seat, "up", f"--timeout={SECONDS:.0f}")
        created.run(seat, "part", "3", "run", "--model=rehearsal")
        created.run(seat, "part", "3", "check")
        login = f"--approve-as={seat_user(seat)}"
        answer = created.run(seat, "part", "4", "run", "--model=rehearsal", login).stdout
        created.run(seat, "part", "4", "check")
        return answer

    with ThreadPoolExecutor(len(WORKING)) as pool:
        answers = list(pool.map(work, WORKING))
    assert all("has the most open issues" in answer for answer in answers)
    assert len(set(answers)) == len(WORKING), "each seat has data of its own"
    return created


def test_two_seats_at_once_do_parts_3_and_4_and_the_status_shows_it(working: Room) -> None:
    seats = working.status()
    assert list(seats) == list(SEATS)
    for seat in WORKING:
        found = seats[seat]
        assert (found["part"], found["ready"], found["pods"], found["problems"]) == (4, 3, 3, [])
        assert {check.partition("/")[0] for check in found["checks"]} == {"3", "4"}
        assert found["passed"] == len(found["checks"]) > 10
    assert [seats[seat]["part"] for seat in SEATS[2:]] == [0, 0]
    table = working.ok(working.facilitator, "room", "status", working.name).stdout
    assert "2 in part 4, 2 not started" in table


def test_a_seat_that_is_broken_is_shown_with_its_reason_and_the_fix(working: Room) -> None:
    def problem() -> Mapping[str, str]:
        found: list[Mapping[str, str]] = working.status()[BROKEN]["problems"]
        return next((each for each in found if NO_IMAGE in each["what"]), {})

    until(lambda: bool(problem()), SECONDS)
    assert "ImagePull" in problem()["what"]
    assert problem()["fix"]


def test_a_check_runs_as_the_seat_of_somebody_who_is_stuck(working: Room) -> None:
    for forward in process.strays(working.people.home / f"seat-{WORKING[0]}"):
        process.end(forward)  # on the machine of the facilitator the ports are free
    done = working.ok(
        working.facilitator, "room", "exec", working.name, WORKING[0], "--", "part", "4", "check"
    )
    assert "GitHub received its own token with every request, and the agent's never" in done.stdout


def test_only_its_network_policy_keeps_a_seat_from_the_others(working: Room) -> None:
    seats = [f"{working.name}-{seat}" for seat in (WORKING[0], ATTACKER)]

    def reached() -> Sequence[str]:
        lines = working.as_seat(ATTACKER, "logs", "attack-0", "--tail=1").splitlines()
        return [name for name, connects in json.loads(lines[-1] if lines else "{}").items() if connects]

    def all_are_reached() -> bool:
        return set(reached()) == set(TARGETS)

    for seat in seats:
        working.kubectl("delete", "networkpolicy", "--all", "--namespace", seat)
    until(all_are_reached, SECONDS)
    working.kubectl("apply", "--namespace", seats[-1], "--filename=-", stdin=DENY)
    try:
        until(lambda: not reached())
    except AssertionError:
        pytest.skip("the cluster's network plugin enforces no NetworkPolicy")
    working.kubectl("delete", "networkpolicy", "--all", "--namespace", seats[-1])
    until(all_are_reached, SECONDS)
    working.create()  # it makes what was deleted
    until(lambda: reached() == [OWN], SECONDS)


def test_removing_the_room_leaves_every_object_of_the_cluster_as_it_was(
    working: Room, before: Sequence[str]
) -> None:
    done = working.ok(working.facilitator, "room", "remove", working.name)
    assert f"Removed room `{working.name}`: {len(SEATS) + 1} namespaces" in done.stdout
    assert working.objects() == before
    again = working.ok(working.facilitator, "room", "remove", working.name, f"--context={working.context}")
    assert f"There is no room `{working.name}` on this cluster" in again.stdout
