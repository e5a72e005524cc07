"""The backend protocol and the values that cross it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from workshop.console import Progress
from workshop.instance import Upstream
from workshop.settings import Settings
from workshop.toolhive.manifests import Resources

PRACTICE_GITHUB = "practice-github"
PRACTICE_PORT = 8090
PRACTICE_CLIENT_ID = "practice-workshop-app"

State = Literal["running", "stopped", "unhealthy"]


@dataclass(frozen=True)
class Entrypoint:
    """What a workload's image runs, from `part.toml`: the embedded backend runs it here."""

    name: str
    argv: tuple[str, ...]
    directory: Path
    local_port: int
    path: str


@dataclass(frozen=True)
class Deployment:
    """What one part deploys: its manifests, and what `part.toml` says of the workloads in them."""

    part: int
    resources: Resources
    entrypoints: Mapping[str, Entrypoint]
    ready_seconds: float


@dataclass(frozen=True)
class Choices:
    """What a person chose for this instance: the upstream, and ports by workload name."""

    upstream: Upstream
    settings: Settings = field(repr=False, default=Settings())
    ports: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class WorkloadStatus:
    """One workload as it is now."""

    name: str
    state: State
    url: str
    pid: int | None
    log: str


@dataclass(frozen=True)
class Applied:
    """What applying did: the endpoints, which workloads were started, which ran already."""

    endpoints: Mapping[str, str]
    started: Sequence[str]
    kept: Sequence[str]


class Backend(Protocol):
    """A place that runs workloads."""

    name: str

    def apply(
        self, deployments: Sequence[Deployment], choices: Choices, progress: Progress, *, prune: bool = False
    ) -> Applied:
        """Make these deployments run; what already runs unchanged is left alone.

        With `prune`, workloads that none of them wants are stopped. When it fails or is interrupted, what
        this call started is stopped again.
        """

    def status(self) -> Sequence[WorkloadStatus]:
        """Every workload this backend knows of."""

    def teardown(self, progress: Progress) -> Sequence[str]:
        """Stop every workload and remove the state; the names of what was stopped."""
