"""A machine with a seat file, and a room in the cluster in memory that it belongs to."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.lab.cluster.bench import Bench, running_bench
from tests.lab.cluster.fake_operator import install_operator
from tests.lab.kube.fake_cluster import TOOLHIVE, FakeCluster
from workshop.core.console import Console
from workshop.core.encoding import s256
from workshop.core.errors import UsageError
from workshop.course import environment
from workshop.course.environment import UpOptions, UpReport
from workshop.course.lessons import find_lessons
from workshop.lab.cluster import checks as cluster_checks
from workshop.lab.cluster.secrets import secrets_of
from workshop.lab.kube.objects import labels_of, name_of
from workshop.lab.room import seat_file
from workshop.lab.room.seat import join
from workshop.lab.room.seat_file import Practice, Seat, SeatFile
from workshop.lab.tools.run import Runner
from workshop.toolhive.secrets import SecretFiles, auth_configs

SPACE = "monday-07"
ABOUT = Seat(
    room="monday",
    seat="07",
    namespace=SPACE,
    practice=Practice(user="seat-07", namespace="monday", record_key="k" * 64),
)
LABELS = {"workshop/room": "monday", "workshop/seat": "07"}
KINDS = (("v1", "Secret"), ("v1", "ConfigMap"), ("v1", "Service"), ("apps/v1", "Deployment"))


def token_until(end: datetime) -> str:
    """A token as the API server makes it, with this end and no valid signature."""
    claims = base64.urlsafe_b64encode(json.dumps({"exp": int(end.timestamp())}).encode()).decode().rstrip("=")
    return f"e30.{claims}.{s256('made up')}"


def seat_at(server: str, hours: float = 12, **changes: object) -> SeatFile:
    end = datetime.now(UTC) + timedelta(hours=hours)
    about = ABOUT.model_copy(update=changes)
    return SeatFile(about=about, cluster={"server": server}, token=token_until(end))


class Attendee(Bench):
    """A machine with kubectl and a seat file; the room is in the cluster."""

    def __init__(self, home: Path, bench: Bench) -> None:
        super().__init__(home, bench.machine, bench.cluster)
        self.file = home.parent / "monday-07.kubeconfig"
        self.server = json.loads(bench.cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
        self.give()

    def give(self, **changes: Any) -> Path:
        """Write the seat file that the facilitator gives."""
        seat_file.write(self.file, seat_at(**{"server": self.server, **changes}))
        return self.file

    def join(self) -> SeatFile:
        return join(self.file, self.directory, environment.backend_now(), Runner())

    def up(self, **changes: object) -> UpReport:
        options = UpOptions(ports=self.ports, limits=self.limits)
        with Console(self.shown, self.shown).progress() as progress:
            return environment.up(find_lessons(), progress, replace(options, **changes), Runner())  # type: ignore[arg-type]

    def objects(self) -> list[str]:
        """Everything that carries one of our labels, each secret with its values."""
        kinds = [*KINDS, (TOOLHIVE, "MCPServer"), (TOOLHIVE, "MCPRemoteProxy")]
        found = [each for kind in kinds for each in self.cluster.kube.list(*kind)]
        ours = [each for each in found if any(label.startswith("workshop/") for label in labels_of(each))]
        return sorted(f"{each['kind']}/{name_of(each)} {each.get('data', '')}" for each in ours)


def room_in(cluster: FakeCluster, folder: Path) -> dict[str, bytes]:
    """Make what `room create` makes for one seat; the values of its secrets, by name and key."""
    files, values = SecretFiles(folder), dict[str, bytes]()
    deployments = [found for lesson in find_lessons() if (found := lesson.deployment())]
    for deployment in deployments:
        for auth in auth_configs(deployment.resources):
            files.generate(auth)
            files.write_client_secret(auth, b"the room's app secret")
        for name, keys in secrets_of(deployment.resources).items():
            data = {key: files.path(name, key).read_bytes() for key in keys}
            values |= {f"{name}/{key}": value for key, value in data.items()}
            encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
            cluster.kube.create(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": name, "namespace": SPACE, "labels": LABELS},
                    "data": encoded,
                }
            )
    external = {"type": "ExternalName", "externalName": "practice-github.monday.svc.cluster.local"}
    about = {"name": "practice-github", "namespace": SPACE, "labels": LABELS}
    cluster.kube.create({"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": external})
    return values


def read_plain(path: Path) -> SeatFile:
    """As `read`, for the API in memory, which has no TLS."""
    try:
        found = seat_file.parsed(path.read_bytes().replace(b"http://", b"https://"))
    except (OSError, ValueError) as error:
        raise UsageError("not a seat file") from error
    return found.model_copy(
        update={"cluster": {**found.cluster, "server": found.server.replace("https://127", "http://127")}}
    )


@pytest.fixture
def attendee(tmp_path: Path) -> Iterator[Attendee]:
    # The later patch ends first: the other way round would bring the bench's `_ask` back at the end.
    with running_bench(tmp_path, young=False) as bench, pytest.MonkeyPatch.context() as patch:
        install_operator(bench.cluster)
        made = Attendee(tmp_path / "state", bench)
        patch.setattr(cluster_checks, "_ask", made.ask)
        patch.setattr(seat_file, "read", read_plain)
        yield made
