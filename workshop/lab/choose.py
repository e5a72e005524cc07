"""Choose the backend: the requested one, the one that is up, or the best that this machine supports."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workshop.core.errors import PreflightError, UsageError, WorkshopError
from workshop.core.invocation import BACKEND_VARIABLE, given_as
from workshop.lab.base import CLUSTER_FILE, OPTION_OF, SEAT_FILE, Backend, BackendName, ClusterChoices

if TYPE_CHECKING:
    from workshop.lab.room.seat_file import SeatFile
    from workshop.lab.tools.run import Runner

_TOOLS = ("docker", "kind", "helm", "kubectl")
_TITLES = {"kind": "Kind backend", "kubernetes": "Kubernetes backend", "embedded": "Embedded backend"}
_FOREIGN = {
    "kind": ("context", "namespace", "install_operator"),
    "kubernetes": ("cluster_name", "bundle"),
    "embedded": tuple(OPTION_OF),
}
"""The choices that do not apply to a backend."""


@dataclass(frozen=True)
class Chosen:
    """A backend and, in a few words, why this one."""

    name: BackendName
    why: str

    @property
    def summary(self) -> str:
        return f"{_TITLES[self.name]} ({self.why})"


def choose(wanted: BackendName | None, existing: BackendName | None, runner: "Runner") -> Chosen:
    """The backend to use; raises PreflightError when another one is up."""
    if wanted and existing not in {None, wanted}:
        asked = given_as("--backend", BACKEND_VARIABLE, wanted)
        raise PreflightError(
            f"The {existing} backend is up, but the {wanted} backend was requested",
            why=f"`{asked}` asks for it, and one instance has one backend at a time",
            hint=f"Run `workshop teardown`, then `workshop up --backend {wanted}`",
        )
    if wanted:
        return Chosen(wanted, "as requested")
    if existing:
        return Chosen(existing, "as before")
    missing = _missing(runner)
    return Chosen("embedded", missing) if missing else Chosen("kind", "Docker answers")


def check_options(name: BackendName, choices: ClusterChoices) -> None:
    """Raise UsageError for an option that does not apply to the backend."""
    for field in _FOREIGN[name]:
        if getattr(choices, field):
            raise UsageError(
                f"`{OPTION_OF[field]}` does not apply to the {name} backend",
                why="It has no operator" if field == "until" else "",
                hint="`workshop up --help` explains each option; `--backend` decides",
            )


def existing_backend(directory: Path, recorded: str | None) -> BackendName | None:
    """The backend of an instance: that of its seat, the recorded one, or that of a first `up` in progress."""
    if (directory / SEAT_FILE).exists():
        return "kubernetes"
    if recorded in _FOREIGN:
        return recorded  # type: ignore[return-value]  # the keys are the backends' names
    if not (directory / CLUSTER_FILE).exists():
        return None
    from workshop.lab.cluster.record import ClusterFile

    record = ClusterFile(directory).read()
    return record.backend if record else None


def backend_for(
    name: BackendName, directory: Path, runner: "Runner | None" = None, choices: ClusterChoices | None = None
) -> Backend:
    """The backend of that name, for the instance in this directory."""
    if name == "embedded":
        from workshop.lab.embedded import EmbeddedBackend

        return EmbeddedBackend(directory)
    from workshop.lab.cluster.kind import KindBackend
    from workshop.lab.cluster.kubernetes import KubernetesBackend
    from workshop.lab.tools.run import Runner

    if (directory / SEAT_FILE).exists():
        from workshop.lab.room.seat import SeatBackend

        return SeatBackend(directory, runner or Runner(), choices or ClusterChoices())
    made = KindBackend if name == "kind" else KubernetesBackend
    return made(directory, runner or Runner(), choices or ClusterChoices())


def seat_of(directory: Path) -> "SeatFile | None":
    """The seat that the instance in this directory has joined; raises UsageError for a damaged file."""
    if not (directory / SEAT_FILE).exists():
        return None
    from workshop.lab.room import seat_file

    return seat_file.read(directory / SEAT_FILE)


def forgotten_cluster(runner: "Runner") -> str:
    """The command that deletes a cluster of our name whose state is lost; empty when there is none."""
    from workshop.lab.pins import pinned
    from workshop.lab.tools.clusters import Kind

    name = pinned().cluster_name
    if any(shutil.which(tool) is None for tool in ("docker", "kind")):
        return ""
    try:
        return f"kind delete cluster --name {name}" if name in Kind(runner).clusters() else ""
    except WorkshopError:  # Docker does not answer, so nothing is known
        return ""


def _missing(runner: "Runner") -> str:
    """Why this machine cannot run a kind cluster, in a few words; empty if it can."""
    absent = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if absent:
        names = " and ".join(filter(None, (", ".join(absent[:-1]), absent[-1])))
        return f"{names} {'are' if absent[1:] else 'is'} not installed"
    from workshop.lab.tools.docker import Docker

    try:
        engine = Docker(runner).examine()
    except WorkshopError as error:
        return error.what
    return "Docker runs on another machine" if engine.remote else ""
