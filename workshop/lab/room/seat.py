"""A seat of a room on this machine: join it, leave it, and the backend of the instance that joined.

The facilitator's `room create` made the namespace, its secrets and its limits, the operator and the practice
GitHub. The seat applies the parts' manifests, reaches them, and removes them, with no rights but that seat's.
"""

import base64
import contextlib
import hashlib
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from workshop.core.console import Progress
from workshop.core.console import Step as Line
from workshop.core.errors import CredentialsError, PreflightError, UsageError
from workshop.core.invocation import BACKEND_VARIABLE, given_as
from workshop.core.settings import Setting, Settings
from workshop.lab.base import (
    OPTION_OF,
    PRACTICE_GITHUB,
    SEAT_FILE,
    Applied,
    BackendName,
    Choices,
    ClusterChoices,
    Deployment,
    HandStep,
    WorkloadStatus,
    remove_state,
)
from workshop.lab.cluster.backend import ClusterBackend
from workshop.lab.cluster.forwards import Forwards
from workshop.lab.cluster.operator import DEFINITIONS
from workshop.lab.cluster.record import Cluster, ClusterRecord, Tools
from workshop.lab.cluster.removal import Removal
from workshop.lab.cluster.render import RenderedPart, Renderer, SharedPractice
from workshop.lab.cluster.seats import Right, missing, refuse_lacking, rights_in, seat_rules
from workshop.lab.cluster.secrets import secrets_of
from workshop.lab.cluster.workloads import Workloads
from workshop.lab.kube.client import Kube
from workshop.lab.kube.connection import UnauthorizedError, UnreachableError
from workshop.lab.kube.objects import mapping
from workshop.lab.logs import Log
from workshop.lab.pins import Pins
from workshop.lab.room import seat_file
from workshop.lab.room.objects import ROOM, SEAT
from workshop.lab.room.seat_file import SeatFile
from workshop.lab.steps import Step
from workshop.lab.tools.clusters import Access, Kubectl
from workshop.lab.tools.run import Runner, copyable
from workshop.toolhive.manifests import TOOLHIVE_API
from workshop.toolhive.secrets import SecretFiles, auth_configs, client_secret_reference

# Of the Service that is forwarded, only the one name may be read, which a review does not show.
_IN_THE_ROOM = (
    Right("", "pods", "get"),
    Right("", "pods", "list"),
    Right("", "pods/portforward", "create"),
)
_READABLE = stat.S_IRWXG | stat.S_IRWXO


def label_of(seat: SeatFile) -> str:
    """A seat as texts name it."""
    return f"seat {seat.about.seat} of room `{seat.about.room}`"


def require_access(seat: SeatFile, kube: Kube) -> str:
    """The API server's version; raises one of our errors if this seat cannot be used, before any change."""
    require_token(seat)
    with explained(seat):
        version = kube.version()
        lacking = missing(kube, seat.about.namespace, rights_in(seat_rules(alone=False)))
        if practice := seat.about.practice:
            lacking = [*lacking, *missing(kube, practice.namespace, _IN_THE_ROOM)]
        served = kube.serves(TOOLHIVE_API, DEFINITIONS)
    again = f"Ask the facilitator to run `workshop room create {seat.about.room}` again"
    refuse_lacking(lacking, f"The account of {label_of(seat)} lacks rights that a seat needs", again)
    if not served:
        raise PreflightError(
            f"ToolHive's definitions are missing in the cluster of room `{seat.about.room}`", hint=again
        )
    return version


def require_token(seat: SeatFile) -> None:
    """Raise CredentialsError if the seat's token has expired, by the clock of this machine."""
    if seat.expires and seat.expires <= datetime.now(UTC):
        raise _expired(seat, f"It ended at {seat.expires.astimezone():%Y-%m-%d %H:%M}")


@contextlib.contextmanager
def explained(seat: SeatFile) -> Iterator[None]:
    """Name what helps a seat when the API server refuses its token, or does not answer."""
    try:
        yield
    except UnauthorizedError as error:
        raise _expired(seat, "It has expired, or the room was removed") from error
    except UnreachableError as error:
        raise PreflightError(
            f"The cluster of room `{seat.about.room}` does not answer at {seat.server}",
            why=error.why,
            hint="Are you in the right network? Otherwise ask the facilitator whether the cluster still runs",
        ) from error


def _expired(seat: SeatFile, why: str) -> CredentialsError:
    return CredentialsError(
        f"The cluster does not accept the token of {label_of(seat)}",
        why=why,
        hint=f"Ask the facilitator for `workshop room renew {seat.about.room}`, then `workshop join FILE`",
    )


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
    given = [option for field, option in OPTION_OF.items() if field != "keep" and getattr(choices, field)]
    if backend not in (None, "kubernetes"):
        given.append(given_as("--backend", BACKEND_VARIABLE, backend))
    if upstream not in (None, "practice" if seat.about.practice else "github"):
        given.append(f"--upstream {upstream}")
    if given:
        raise UsageError(
            f"`{given[0]}` does not apply to a seat of a room",
            why=f"This instance is {label_of(seat)}, and the facilitator has decided that",
            hint="`workshop --instance NAME up` starts something else beside it",
        )


class SeatWorkloads(Workloads):
    """The parts in a seat: its secrets and its practice GitHub are there already."""

    def secrets(self, after: tuple[str, ...] = ()) -> Step:
        """Do nothing: the seat's secrets are the facilitator's."""
        return Step("secrets", "Use the secrets of the seat", lambda _: None, needs=after, done=lambda: True)

    def by_hand(self, part: RenderedPart) -> list[HandStep]:
        """What a person would type to deploy a part."""
        # A seat's Role may read its secrets, and not create any.
        return [step for step in super().by_hand(part) if " secret " not in step.command]

    def _wait(self, part: RenderedPart, name: str, line: Line) -> None:
        if name == PRACTICE_GITHUB:
            line.note("the room's")
        else:
            super()._wait(part, name, line)


class SeatBackend(ClusterBackend):
    """Deploys the parts into one seat; the seat file stays when the rest is removed."""

    name: BackendName = "kubernetes"
    stays = SEAT_FILE

    @cached_property
    def seat(self) -> SeatFile:
        """The seat that the instance joined; raises UsageError for a damaged file."""
        return seat_file.read(self._home / SEAT_FILE)

    def apply(
        self, deployments: Sequence[Deployment], choices: Choices, progress: Progress, *, prune: bool = False
    ) -> Applied:
        """As on any cluster, with the values of the seat's secrets; raises UsageError for a variation."""
        for name in filter(None, (deployment.variation for deployment in deployments)):
            raise _not_in_a_seat(self.seat, name)
        with explained(self.seat):
            require_token(self.seat)
            if prune:
                self._take_secrets(deployments)
            return super().apply(deployments, choices, progress, prune=prune)

    def submit(self, deployment: Deployment, choices: Choices, progress: Progress, /) -> Applied:
        """Only apply one part's manifests."""
        with explained(self.seat):
            return super().submit(deployment, choices, progress)

    def prove(
        self, deployment: Deployment, choices: Choices, tokens: Mapping[str, str], progress: Progress, /
    ) -> None:
        """Run the checks that need a login."""
        with explained(self.seat):
            super().prove(deployment, choices, tokens, progress)

    def withdraw(self, progress: Progress) -> Sequence[str]:
        """Do nothing: no variation is applied to a seat."""
        del progress
        return ()

    def status(self) -> Sequence[WorkloadStatus]:
        """As on any cluster; with an expired token, only that and the forwards."""
        try:
            require_token(self.seat)
        except CredentialsError as error:
            expired = WorkloadStatus("cluster", "unhealthy", "", None, "", error.in_full)
            return [expired, *self._forwards.status()]
        return super().status()

    def logs(self) -> Sequence[Log]:
        """The logs of the seat's containers and of the forwards."""
        with explained(self.seat):
            return super().logs()

    def teardown(self, progress: Progress) -> Sequence[str]:
        """Stop the forwards, and leave the seat as `room create` made it."""
        stopped = [f"forward {name}" for name in self._forwards.stop_all(progress)]
        with explained(self.seat):
            return [*stopped, *super().teardown(progress)]

    def open(self, *, new: bool) -> Cluster:
        """The seat's cluster, reached with the seat file itself."""
        cluster = super().open(new=new)
        return replace(cluster, at=Access(self._home / SEAT_FILE, self.seat.context))

    def record(self, known: ClusterRecord | None, _pins: Pins) -> ClusterRecord:
        """The record of the seat; its id follows from the seat, so that another machine has the same one."""
        about = self.seat.about
        identity = hashlib.sha256(f"{self.seat.server} {about.namespace}".encode()).hexdigest()[:8]
        labels = {ROOM: about.room, SEAT: about.seat}
        made = ClusterRecord(
            "kubernetes", f"w{identity}", self.seat.context, about.namespace, room_labels=labels
        )
        return known if known and known.id == made.id else made

    def with_images(self, record: ClusterRecord, pins: Pins, _tools: Tools) -> tuple[ClusterRecord, Pins]:
        """The images of the room."""
        images = self.seat.about.images
        return replace(record, images=images.model_dump() if images else {}), pins

    def steps(
        self, cluster: Cluster, workloads: Workloads, deployments: Sequence[Deployment], choices: Choices
    ) -> list[Step]:
        """The steps of the parts alone, after the checks of the tools and of the seat."""
        del deployments, choices
        applied = tuple(f"apply-{part.key}" for part in workloads.parts)
        can_i = ["auth", "can-i", "--list", "--namespace", cluster.namespace]
        return [
            Step("preflight", "Check kubectl", lambda _: cluster.tools.kubectl.examine()),
            Step(
                "rights",
                f"Check the access to {label_of(self.seat)}",
                lambda line: line.note(f"Kubernetes {require_access(self.seat, cluster.kube)}"),
                needs=("preflight",),
                plan=lambda: [copyable(cluster.tools.kubectl.argv(cluster.at, *can_i))],
            ),
            *workloads.steps(after=("rights",), operator=("rights",), images=()),
            workloads.prune(applied),
        ]

    def workloads(self, cluster: Cluster, deployments: Sequence[Deployment], choices: Choices) -> Workloads:
        """Render these deployments for the seat, with the room's practice GitHub."""
        practice = self.seat.about.practice
        shared = SharedPractice(practice.namespace, practice.user) if practice else None
        if not practice:
            choices = replace(choices, settings=self._with_oauth_app(choices.settings, deployments))
        return SeatWorkloads(cluster, Renderer(cluster, shared).render(deployments, choices))

    def remove(self, cluster: Cluster, progress: Progress) -> list[str]:
        """Remove what the seat applied; the namespace, the secrets and the room stay."""
        require_token(self.seat)
        removal = Removal(cluster, seconds=cluster.limits.removed)
        return removal.run(progress, must=True, only_workloads=True)

    def _recorded(self) -> Cluster:
        return self.open(new=False)

    def _reachable(self, progress: Progress | None = None) -> Cluster:
        del progress  # nothing is awaited: the cluster's owner starts it
        cluster = self._recorded()
        with explained(self.seat):
            cluster.kube.version()
        return cluster

    def _with_oauth_app(self, settings: Settings, deployments: Sequence[Deployment]) -> Settings:
        """The settings with the room's OAuth app, from the seat file and from the seat's secret."""
        files, source = SecretFiles(self._home / "secrets"), label_of(self.seat)
        auths = [auth for deployment in deployments for auth in auth_configs(deployment.resources)]
        paths = [path for auth in auths if (path := files.path(*client_secret_reference(auth))).exists()]
        return replace(
            settings,
            github_client_id=Setting(self.seat.about.github_client_id, source),
            github_client_secret=Setting(paths[0].read_text("utf-8") if paths else None, source),
        )

    def _take_secrets(self, deployments: Sequence[Deployment]) -> None:
        """Read the seat's secrets into this instance's files, from which manifests and checks are made."""
        cluster = self.open(new=False)
        files = SecretFiles(self._home / "secrets")
        for deployment in deployments:
            for name, keys in secrets_of(deployment.resources).items():
                data = mapping(cluster.kube.get("v1", "Secret", name, cluster.namespace), "data")
                for key in keys:
                    if key not in data:
                        raise _incomplete(self.seat, name, key)
                    files.write(name, key, base64.b64decode(str(data[key])))
            # At the real GitHub, the app's secret stays in this one file.
            for auth in auth_configs(deployment.resources) if self.seat.about.practice else ():
                secret = files.path(*client_secret_reference(auth)).read_bytes()
                # Without it, `write_secrets` makes a new one, which the practice GitHub refuses.
                files.write(PRACTICE_GITHUB, "client-secret", secret)


def _not_in_a_seat(seat: SeatFile, variation: str) -> UsageError:
    return UsageError(
        f"The variation `{variation}` does not run in a seat of a room",
        why=f"It has secrets and a practice GitHub of its own, which {label_of(seat)} may not create",
        hint=f"Beside the seat: `workshop --instance own up --backend embedded`, then "
        f"`workshop --instance own part 4 run --variation {variation}`",
    )


def _incomplete(seat: SeatFile, name: str, key: str) -> UsageError:
    return UsageError(
        f"The secret `{name}` of {label_of(seat)} has no `{key}`",
        why="`workshop room create` makes it, and it was deleted or changed since",
        hint=f"Ask the facilitator to run `workshop room create {seat.about.room}` again",
    )
