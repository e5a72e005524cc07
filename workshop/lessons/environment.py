"""What the parts run on: bring it up, bring one part's workloads up again, tell its state, tear it down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workshop.backends.base import PRACTICE_GITHUB, Applied, Backend, Choices, Deployment, WorkloadStatus
from workshop.backends.embedded import EmbeddedBackend
from workshop.console import Progress
from workshop.errors import CredentialsError, PreflightError, UsageError
from workshop.instance import Instance, Record, Upstream
from workshop.lessons.find import Lesson
from workshop.ports import HIGHEST, LOWEST
from workshop.settings import Settings
from workshop.toolhive.overrides import CLIENT_ID_PLACEHOLDER
from workshop.toolhive.secrets import auth_configs

_OAUTH_CLIENT_ID = "spec.embeddedAuthServer.upstreamProviders.0.oauth2Config.clientId"


@dataclass(frozen=True)
class UpReport:
    """What `up` chose, with the reason, and what it started or found running."""

    backend: str
    upstream: Upstream
    reason: str
    endpoints: Mapping[str, str]
    started: Sequence[str]
    kept: Sequence[str]


@dataclass(frozen=True)
class StatusReport:
    """What exists now."""

    up: bool
    backend: str | None
    upstream: Upstream | None
    directory: str
    workloads: Sequence[WorkloadStatus]


def up(
    lessons: Sequence[Lesson],
    progress: Progress,
    *,
    upstream: Upstream | None = None,
    ports: Mapping[str, int] | None = None,
    env_file: Path | None = None,
) -> UpReport:
    """Start everything the parts need; what already runs unchanged is left alone."""
    settings = Settings.load(env_file)
    instance = Instance.load()
    chosen, reason = _choose_upstream(upstream, settings)
    deployments = [found for lesson in lessons if (found := lesson.deployment())]
    wanted = {**(instance.record.ports if instance.record else {}), **(ports or {})}
    _check_ports(wanted, deployments)
    if chosen == "github":
        _require_oauth_app(settings, deployments)
    backend = EmbeddedBackend(instance.directory)
    with instance.lock():
        applied = backend.apply(deployments, Choices(chosen, settings, wanted), progress, prune=True)
        instance.save(Record(backend.name, chosen, wanted, applied.endpoints))
    return UpReport(backend.name, chosen, reason, applied.endpoints, applied.started, applied.kept)


def ensure(lesson: Lesson, progress: Progress, *, env_file: Path | None = None) -> Applied | None:
    """Make sure one part's workloads run as its manifests say; None when it needs none.

    Raises PreflightError when nothing is up.
    """
    deployment = lesson.deployment()
    if deployment is None:
        return None
    with Instance.locate().lock():
        instance = Instance.load()
        if instance.record is None:
            raise PreflightError(
                f"Part {lesson.number} needs its workloads, and nothing is up",
                hint="Run `workshop up` first",
            )
        choices = Choices(instance.record.upstream, Settings.load(env_file), instance.record.ports)
        return backend_of(instance).apply([deployment], choices, progress)


def status() -> StatusReport:
    """What is up, workload by workload."""
    instance = Instance.load()
    record = instance.record
    return StatusReport(
        up=record is not None,
        backend=record.backend if record else None,
        upstream=record.upstream if record else None,
        directory=str(instance.directory),
        workloads=backend_of(instance).status(),
    )


def teardown(progress: Progress) -> Sequence[str]:
    """Stop everything and remove the state, damaged or not; the names of what was stopped."""
    instance = Instance.locate()
    with instance.lock():
        return backend_of(instance).teardown(progress)


def backend_of(instance: Instance) -> Backend:
    """The backend that an instance runs on."""
    return EmbeddedBackend(instance.directory)


def _choose_upstream(wanted: Upstream | None, settings: Settings) -> tuple[Upstream, str]:
    backend = "Embedded backend (the only one in this version)"
    if wanted:
        return wanted, f"{backend}, {wanted} upstream (`--upstream`)"
    if settings.github_client_secret:
        source = settings.github_client_secret.source
        return "github", f"{backend}, GitHub upstream (GITHUB_OAUTH_CLIENT_SECRET is in `{source}`)"
    return "practice", f"{backend}, practice GitHub (no GITHUB_OAUTH_CLIENT_SECRET in `.env`)"


def _require_oauth_app(settings: Settings, deployments: Sequence[Deployment]) -> None:
    hint = "`.env.example` names both keys; `--upstream practice` needs neither"
    if not settings.github_client_secret:
        raise CredentialsError("GITHUB_OAUTH_CLIENT_SECRET is not set in `.env`", hint=hint)
    for deployment in deployments:
        for auth in auth_configs(deployment.resources):
            if auth.find(_OAUTH_CLIENT_ID) == CLIENT_ID_PLACEHOLDER and not settings.github_client_id:
                raise CredentialsError(
                    "GITHUB_OAUTH_CLIENT_ID is not set in `.env`",
                    why=f"The `clientId` in {auth.source} is still the placeholder",
                    hint=hint,
                )


def _check_ports(ports: Mapping[str, int], deployments: Sequence[Deployment]) -> None:
    names = {PRACTICE_GITHUB}
    for deployment in deployments:
        for kind in ("MCPServer", "MCPRemoteProxy"):
            names |= {resource.name for resource in deployment.resources.of(kind)}
    for name, port in ports.items():
        if name not in names:
            raise UsageError(
                f"There is no workload `{name}` to give a port", hint=f"There are {', '.join(sorted(names))}"
            )
        if not LOWEST <= port <= HIGHEST:
            raise UsageError(
                f"Port {port} for `{name}` is out of range", hint=f"Choose one from {LOWEST} to {HIGHEST}"
            )
