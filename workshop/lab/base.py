"""The backend protocol, the values that cross it, and what every backend does at its end."""

import contextlib
import hashlib
import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from workshop import __version__
from workshop.core.console import Console, Progress
from workshop.core.errors import WorkshopError
from workshop.core.instance import Upstream
from workshop.core.settings import Settings
from workshop.lab.logs import Log

if TYPE_CHECKING:
    from workshop.lab.steps import StepTime
    from workshop.toolhive.manifests import Resources

CLUSTER_FILE = "cluster.json"
"""In an instance's directory: the record of its cluster; absent on the embedded backend."""
SEAT_FILE = "seat.kubeconfig"
"""In an instance's directory: its access to a seat of a room; absent if it has not joined one."""
PRACTICE_GITHUB = "practice-github"
PRACTICE_PORT = 8090
PRACTICE_CLIENT_ID = "practice-workshop-app"

BackendName = Literal["kind", "kubernetes", "embedded"]
State = Literal["running", "starting", "stopped", "unhealthy", "not visible"]


@dataclass(frozen=True)
class Program:
    """One program: its arguments, the port that it listens on, and everything else that it is started with.

    In the form of `part.toml`, `argv` begins with `python`, a script is relative to `directory`, and `config`
    may have placeholders; `process.on_this_machine` and a backend turn it into a program that can start.
    `config` is written to a file before the start, and `--config FILE` is added to the arguments. `files` are
    those whose contents the program depends on: its code and its secrets.
    """

    name: str
    argv: tuple[str, ...]
    port: int
    path: str = ""
    directory: Path = Path()
    config: Mapping[str, Any] | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: tuple[Path, ...] = ()
    ready_seconds: float = 30.0
    host: str = "localhost"

    @property
    def url(self) -> str:
        """The address of the program; its `/health` is on the same port."""
        return f"http://{self.host}:{self.port}{self.path}"

    @property
    def fingerprint(self) -> str:
        """A digest of all that the program is started with: when it changes, the program has to restart."""
        # With our version, because most programs are our own modules.
        started_with = [__version__, self.argv, self.port, self.config, dict(self.env)]
        digest = hashlib.sha256(json.dumps(started_with, sort_keys=True).encode())
        for file in self.files:
            digest.update(file.read_bytes() if file.exists() else b"absent")
        return digest.hexdigest()


@dataclass(frozen=True)
class Deployment:
    """What one part deploys: its manifests, and by workload name what each image runs, from `part.toml`.

    That of a variation has its name, and a practice GitHub of its own.
    """

    part: int
    resources: "Resources"
    programs: Mapping[str, Program]
    ready_seconds: float
    variation: str = ""
    practice: str = PRACTICE_GITHUB
    practice_port: int = PRACTICE_PORT


@dataclass(frozen=True)
class Choices:
    """What a person chose for this instance: the upstream, and ports by workload name."""

    upstream: Upstream
    settings: Settings = field(repr=False, default=Settings())
    ports: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """How long work on a cluster may take, and the pauses in it, in seconds."""

    ready: float = 300.0  # the operator, or a workload
    restart: float = 300.0  # a node of kind: 30 s on an idle machine with 2 cores, 123 s at a load of 28
    forward: float = 60.0
    names: float = 45.0  # CoreDNS takes up to half of this after its node has started
    route: float = 45.0  # a Python server starts within a second; under load it took ten
    gone: float = 30.0  # until the operator has cleared the finalizers of what is deleted
    removed: float = 60.0  # the same at the end, when everything is deleted
    look: float = 0.5  # between two looks at what is waited for
    retry: float = 0.5  # before the second attempt of a request; each further pause is longer by this


@dataclass(frozen=True)
class ClusterChoices:
    """What a person chose for a cluster; an unset choice keeps its value from the last `up`."""

    cluster_name: str | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    bundle: Path | None = None
    context: str | None = None
    namespace: str | None = None
    install_operator: bool = False
    yes: bool = False
    keep: bool = False
    until: Literal["operator"] | None = None
    """The last step of `up`; None starts the parts too."""
    seconds: float | None = None
    limits: Limits = Limits()

    @property
    def bounds(self) -> Limits:
        """The limits, with the `seconds` that a person allows for each wait."""
        return replace(self.limits, ready=self.seconds, removed=self.seconds) if self.seconds else self.limits


OPTION_OF = {
    "cluster_name": "--cluster-name",
    "bundle": "--bundle",
    "context": "--context",
    "namespace": "--namespace",
    "install_operator": "--install-operator",
    "overrides": "--override",
    "until": "--until",
    "keep": "--keep",
}
"""The option of `up` for a choice of `ClusterChoices` that not every backend has."""


@dataclass(frozen=True)
class WorkloadStatus:
    """The present state of a workload; on a cluster also of the cluster, the operator and the pods."""

    name: str
    state: State
    url: str
    pid: int | None
    log: str
    detail: str = ""


@dataclass(frozen=True)
class Applied:
    """The endpoints, the workloads that were started, and those that already ran and were `kept`.

    `commands` are what a person would type to do the same; `steps` are the times that it took.
    """

    endpoints: Mapping[str, str]
    started: Sequence[str]
    kept: Sequence[str]
    commands: Sequence[str] = ()
    steps: "Sequence[StepTime]" = ()


@dataclass(frozen=True)
class HandStep:
    """A command that a person types, and its reason in one sentence."""

    reason: str
    command: str


class Backend(Protocol):
    """What runs workloads: local processes, or a cluster."""

    name: BackendName

    def apply(
        self, deployments: Sequence[Deployment], choices: Choices, progress: Progress, *, prune: bool = False
    ) -> Applied:
        """Run these deployments; a workload that already runs unchanged is left alone.

        With `prune`, also create what they run on, and stop every other workload. If this call fails or is
        interrupted, it stops what it started.
        """

    def plan(self, deployments: Sequence[Deployment], choices: Choices) -> Sequence[str]:
        """The commands and files of `apply` with `prune`; nothing is run or written."""

    def submit(self, deployment: Deployment, choices: Choices, progress: Progress, /) -> Applied:
        """Only apply one part's manifests, and wait for nothing."""

    def by_hand(self, deployment: Deployment, choices: Choices, /) -> "Sequence[HandStep]":
        """The commands with which a person deploys one part, in order; nothing is run."""

    def forward(self, deployment: Deployment, choices: Choices, progress: Progress, /) -> Applied:
        """Only make the workloads of one part reachable on this machine."""

    def prove(
        self, deployment: Deployment, choices: Choices, tokens: Mapping[str, str], progress: Progress, /
    ) -> None:
        """Run the checks that need a login, with access tokens by URL; raises the first failure."""

    def status(self) -> Sequence[WorkloadStatus]:
        """Every workload of this backend."""

    def logs(self) -> Sequence[Log]:
        """Every log, of what runs now and of what ran last."""

    def withdraw(self, progress: Progress, /) -> Sequence[str]:
        """Remove what variations applied; return the names of what was removed."""

    def teardown(self, progress: Progress) -> Sequence[str]:
        """Stop every workload and remove the state; return the names of what was stopped."""


@contextlib.contextmanager
def quiet_progress() -> Iterator[Progress]:
    """Progress that nobody sees."""
    with Console(io.StringIO(), io.StringIO()).progress() as progress:
        yield progress


def remove_state(directory: Path, keep: str = "") -> None:
    """Remove what a backend wrote except the file `keep`; raises WorkshopError if another file resists."""
    for found in directory.iterdir() if keep and directory.is_dir() else ():
        if found.is_dir() and not found.is_symlink():
            shutil.rmtree(found, ignore_errors=True)
        elif found.name != keep:
            found.unlink()
    if keep and (directory / keep).exists():
        return
    shutil.rmtree(directory, ignore_errors=True)
    if directory.exists():
        raise WorkshopError(
            f"Everything is stopped, but `{directory}` cannot be removed",
            hint="Remove it yourself; the workshop no longer uses it",
        )
