"""Run one of our commands as a seat, with the rights of the seat and a state directory that is removed."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from workshop.core.console import Console
from workshop.core.errors import PreflightError
from workshop.core.instance import UNNAMED, Instance, Record, Upstream
from workshop.core.ports import free_port
from workshop.lab.base import PRACTICE_GITHUB, SEAT_FILE, Choices, ClusterChoices, Deployment
from workshop.lab.cluster.forwards import Forwards
from workshop.lab.cluster.record import Cluster
from workshop.lab.kube.client import Kube
from workshop.lab.kube.objects import items, mapping, text
from workshop.lab.room.handout import Issuer, chosen
from workshop.lab.room.progress import SETTING
from workshop.lab.room.record import read_room
from workshop.lab.room.seat import SeatBackend
from workshop.lab.room.seat_file import SeatFile, write
from workshop.lab.tools.run import runner_for
from workshop.toolhive.manifests import TOOLHIVE_API

_SECONDS = 3600


@dataclass(frozen=True)
class SeatHome:
    """A state directory whose instance is a seat, and the user of the seat in the room's practice GitHub."""

    folder: Path
    user: str

    def run(self, argv: Sequence[str], *, quiet: bool = False) -> int:
        """Run a program of ours beside this one, on this terminal, and return its exit code.

        Of this process's variables, it gets none of the workshop's; Ctrl-C reaches both.
        """
        own = {name: value for name, value in os.environ.items() if not name.startswith("WORKSHOP_")}
        seat = self.folder / UNNAMED / SEAT_FILE
        # What a facilitator runs here is not the attendee's progress.
        env = {**own, "WORKSHOP_HOME": str(self.folder), "KUBECONFIG": str(seat), SETTING: "0"}
        stdout = subprocess.DEVNULL if quiet else None
        return subprocess.run([sys.executable, *argv], env=env, stdout=stdout, check=False).returncode


@contextmanager
def seat_home(site: Cluster, seat: str, parts: Sequence[Deployment], console: Console) -> Iterator[SeatHome]:
    """A seat as an instance of this machine, with a new token; see `as_seat`."""
    room = read_room(site.kube, site.namespace)
    (name,) = chosen(room, [seat])
    # Not noted: the end that `room status` shows is that of the attendee's own token.
    file = Issuer(site, room).issue(name, _SECONDS, noted=False)
    with as_seat(file, parts, console) as home:
        yield home


@contextmanager
def as_seat(file: SeatFile, parts: Sequence[Deployment], console: Console) -> Iterator[SeatHome]:
    """An instance with this seat, and with the workloads of these parts forwarded to this machine.

    The manifests in the seat stay as they are. At the end, the forwards and the directory are removed.
    """
    with tempfile.TemporaryDirectory(prefix="workshop-seat-") as folder:
        directory = Path(folder) / UNNAMED
        write(directory / SEAT_FILE, file)
        # `_forward` may fail after some forwards have begun.
        try:
            Instance(directory, None).save(_forward(directory, file, parts, console))
            yield SeatHome(Path(folder), file.about.practice.user if file.about.practice else "")
        finally:
            with console.progress() as progress:
                Forwards(directory, ClusterChoices().bounds).stop_all(progress)


def _forward(directory: Path, file: SeatFile, parts: Sequence[Deployment], console: Console) -> Record:
    """Forward the parts to the ports that their owner's `up` chose; the record of that."""
    kube = Kube(directory / SEAT_FILE, file.context, own_nodes=False)
    ports = {name: port for part in parts for name, port in _ports(kube, file, part).items()}
    upstream: Upstream = "practice" if file.about.practice else "github"
    endpoints: dict[str, str] = {}
    with console.progress() as progress:
        backend = SeatBackend(directory, runner_for(progress), ClusterChoices())
        for part in parts:
            endpoints |= backend.forward(part, Choices(upstream, ports=ports), progress).endpoints
    return Record("kubernetes", upstream, ports, endpoints)


def _ports(kube: Kube, file: SeatFile, part: Deployment) -> dict[str, int]:
    """The port of each workload on this machine; raises PreflightError if the seat does not run them.

    A proxy's tokens and metadata name its port, and so does the page of the practice GitHub: these are the
    owner's. A server's port can be any.
    """
    ports = {server.name: free_port() for server in part.resources.of("MCPServer")}
    for proxy in part.resources.of("MCPRemoteProxy"):
        ports[proxy.name] = 0  # until its config is found below
    for workload in part.resources.workloads:
        if kube.get(TOOLHIVE_API, workload.kind, workload.name, file.about.namespace) is None:
            raise PreflightError(
                f"Seat {file.about.seat} does not run `{workload.name}`",
                why=f"Namespace `{file.about.namespace}` has no {workload.kind} of that name",
                hint="Its owner runs `workshop up` first",
            )
    for config in kube.list(TOOLHIVE_API, "MCPExternalAuthConfig", file.about.namespace):
        server = mapping(config, "spec", "embeddedAuthServer")
        ports |= {name: _port(text(server, "issuer")) for name, port in ports.items() if not port}
        for upstream in items(server, "upstreamProviders"):
            page = text(upstream, "oauth2Config", "authorizationEndpoint")
            ports |= {PRACTICE_GITHUB: _port(page)} if file.about.practice else {}
    return ports


def _port(url: str) -> int:
    return urlsplit(url).port or 0
