"""Join a room: check a seat file, and make it the access of an instance; leave the room again."""

import stat
from pathlib import Path

from workshop.core.console import Progress
from workshop.core.errors import PreflightError, UsageError
from workshop.lab.base import SEAT_FILE, BackendName, ClusterChoices, remove_state
from workshop.lab.cluster.forwards import Forwards
from workshop.lab.kube.client import Kube
from workshop.lab.room import seat_file
from workshop.lab.room.backend import label_of, require_access
from workshop.lab.room.seat_file import SeatFile
from workshop.lab.tools.clusters import Kubectl
from workshop.lab.tools.run import Runner

_NOT_CHOSEN = {
    "cluster_name": "--cluster-name",
    "bundle": "--bundle",
    "context": "--context",
    "namespace": "--namespace",
    "install_operator": "--install-operator",
    "overrides": "--override",
    "until": "--until",
}
_READABLE = stat.S_IRWXG | stat.S_IRWXO


def is_readable_by_others(file: Path) -> bool:
    """Whether somebody else on this machine may read or write a file, such as one with a token."""
    return file.is_file() and bool(file.stat().st_mode & _READABLE)


def join(file: Path, directory: Path, backend: BackendName | None, runner: Runner) -> SeatFile:
    """Check a seat file and the cluster behind it, and copy it into the instance's directory.

    `backend` is what is up there. A newer file of the same seat replaces the old one. Raises one of our
    errors, before anything is written, if the seat cannot be used.
    """
    seat = seat_file.read(file)
    _require_unused(seat, directory, backend)
    Kubectl(runner).examine()
    require_access(seat, Kube(file, seat.context, own_nodes=False))
    seat_file.write(directory / SEAT_FILE, seat)
    return seat


def _require_unused(seat: SeatFile, directory: Path, backend: BackendName | None) -> None:
    """Raise PreflightError if the instance has another seat or runs without one."""
    if not (directory / SEAT_FILE).exists():
        occupied, way_out = f"It runs on the {backend} backend" if backend else "", "`workshop teardown`"
    else:
        joined = seat_file.read(directory / SEAT_FILE)
        same = (joined.server, joined.about.namespace) == (seat.server, seat.about.namespace)
        occupied, way_out = "" if same else f"It is {label_of(joined)}", "`workshop join --leave`"
    if occupied:
        another = f"`workshop --instance {seat.about.namespace} join FILE`"
        raise PreflightError(
            f"This instance cannot be {label_of(seat)}",
            why=occupied,
            hint=f"Join as another: {another}; or first {way_out}",
        )


def leave(directory: Path, progress: Progress) -> str:
    """Forget the seat and stop its forwards, without asking the cluster; the seat file's path.

    Raises UsageError if the instance has no seat, and if its parts are still in the cluster.
    """
    file = directory / SEAT_FILE
    if not file.exists():
        raise UsageError("This instance has not joined a room", hint="`workshop join FILE` does that")
    Forwards(directory, ClusterChoices().bounds).stop_all(progress)
    remove_state(directory)
    return str(file)


def refuse_choices(
    seat: SeatFile, choices: ClusterChoices, backend: BackendName | None, upstream: str | None
) -> None:
    """Raise UsageError for an option of `up` that the room has decided."""
    given = [option for field, option in _NOT_CHOSEN.items() if getattr(choices, field)]
    if backend not in (None, "kubernetes"):
        given.append(f"--backend {backend}")
    if upstream not in (None, "practice" if seat.about.practice else "github"):
        given.append(f"--upstream {upstream}")
    if given:
        raise UsageError(
            f"`{given[0]}` does not apply to a seat of a room",
            why=f"This instance is {label_of(seat)}, and the facilitator has decided that",
            hint="`workshop --instance NAME up` starts something else beside it",
        )
