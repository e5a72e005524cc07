"""What the parts run on: start everything or one part, report its state, tear it down."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from workshop.core.console import Progress
from workshop.core.errors import PreflightError, UsageError
from workshop.core.instance import Instance, Record, Upstream
from workshop.core.invocation import PORT_VARIABLE, given_as
from workshop.core.outgoing import check_loopback
from workshop.core.ports import HIGHEST, LOWEST, free_port
from workshop.core.settings import Settings
from workshop.course import variation_run
from workshop.course.lessons import Lesson, Variation
from workshop.course.variation_run import Running
from workshop.lab.base import (
    PRACTICE_GITHUB,
    Applied,
    Backend,
    BackendName,
    Choices,
    ClusterChoices,
    Deployment,
    HandStep,
    Program,
    WorkloadStatus,
)
from workshop.lab.choose import (
    Chosen,
    backend_for,
    check_options,
    choose,
    existing_backend,
    forgotten_cluster,
    seat_of,
)
from workshop.lab.logs import Log

if TYPE_CHECKING:
    from workshop.agent.part import RunContext
    from workshop.lab.room.seat_file import SeatFile
    from workshop.lab.steps import StepTime
    from workshop.lab.tools.run import Runner


@dataclass(frozen=True)
class UpOptions(ClusterChoices):
    """What a person may choose for `up`; what is unset stays as before, or is chosen for them."""

    backend: BackendName | None = None
    upstream: Upstream | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    env_file: Path | None = None


@dataclass(frozen=True)
class UpReport:
    """What `up` chose and why, what it started, what was already running, and the time of each step."""

    backend: str
    upstream: Upstream
    reason: str
    endpoints: Mapping[str, str]
    started: Sequence[str]
    kept: Sequence[str]
    steps: "Sequence[StepTime]" = ()


@dataclass(frozen=True)
class PlanReport:
    """What `up` would choose, run and write."""

    backend: str
    upstream: Upstream
    reason: str
    commands: Sequence[str]


@dataclass(frozen=True)
class StatusReport:
    """What exists now."""

    up: bool
    backend: str | None
    upstream: Upstream | None
    directory: str
    workloads: Sequence[WorkloadStatus]
    variations: Sequence[WorkloadStatus] = ()


@dataclass(frozen=True)
class _Wanted:
    """The decisions of one `up`: backend, deployments and choices, and the reason in one line."""

    backend: Backend
    deployments: Sequence[Deployment]
    choices: Choices
    reason: str


def up(
    lessons: Sequence[Lesson], progress: Progress, options: UpOptions, runner: "Runner | None" = None
) -> UpReport:
    """Start everything that the parts need; what runs unchanged is not restarted."""
    instance = Instance.load()
    check_loopback()  # on a cluster too, whose API server and forwards are there
    wanted = _decide(instance, lessons, options, runner or _runner())
    if wanted.backend.name != "embedded":
        progress.say(wanted.reason)  # the result with the reason comes minutes later
    backend, choices = wanted.backend, wanted.choices
    with instance.lock():
        # Only `up` has every part, so only it may remove what no part needs.
        applied = backend.apply(wanted.deployments, choices, progress, prune=True)
        env_file = str(options.env_file.absolute()) if options.env_file else ""
        known = instance.record.env_file if instance.record else ""
        record = Record(backend.name, choices.upstream, choices.ports, applied.endpoints, env_file or known)
        instance.save(record)
    return UpReport(
        backend.name,
        choices.upstream,
        wanted.reason,
        applied.endpoints,
        applied.started,
        applied.kept,
        applied.steps,
    )


def plan(lessons: Sequence[Lesson], options: UpOptions, runner: "Runner | None" = None) -> PlanReport:
    """What `up` with these options would run and write."""
    wanted = _decide(Instance.load(), lessons, options, runner or _runner())
    commands = wanted.backend.plan(wanted.deployments, wanted.choices)
    return PlanReport(wanted.backend.name, wanted.choices.upstream, wanted.reason, commands)


def ensure(
    lesson: Lesson,
    progress: Progress,
    settings: Settings,
    runner: "Runner | None" = None,
    choices: ClusterChoices | None = None,
) -> Applied | None:
    """Make sure that one part's workloads run as its manifests describe; None when it needs none.

    Raises PreflightError when nothing is up.
    """
    deployment = lesson.deployment()
    if deployment is None:
        return None
    with _existing(lesson, settings, runner, choices) as (backend, chosen):
        return backend.apply([deployment], chosen, progress)


def deploy(
    variation: Variation, progress: Progress, settings: Settings, runner: "Runner | None" = None
) -> Running:
    """Make sure that a variation's manifests run on the cluster that is up, reachable at free ports."""
    from workshop.lab.deployments import default_ports

    deployment, programs = _deployment(variation), variation_run.programs_of(variation)
    names = (variation.name, deployment.practice)
    if set(programs.endpoints()) - set(names):
        programs.stop(progress)  # they ran before this cluster was up
    wanted = default_ports(deployment)
    endpoints = [Program(name, (), wanted[name]) for name in names]
    with _existing(variation, settings, runner) as (backend, choices):
        applied = programs.on_ports(
            endpoints, lambda ports: backend.apply([deployment], replace(choices, ports=ports), progress)
        )
    return Running(variation, programs, applied.endpoints, applied.started, on_cluster=True)


def stop_variations(progress: Progress, runner: "Runner | None" = None) -> Sequence[str]:
    """Stop every variation, and remove from the cluster what they applied; return what was stopped."""
    instance = Instance.locate()
    with instance.lock():
        stopped = variation_run.stop_all(progress)
        name = backend_now()
        backend = backend_for(name, instance.directory, runner) if name else None
        return [*stopped, *(backend.withdraw(progress) if backend else ())]


def by_hand(lesson: Lesson, settings: Settings, runner: "Runner | None" = None) -> "Sequence[HandStep]":
    """The commands with which a person deploys one part on the cluster."""
    with _existing(lesson, settings, runner) as (backend, choices):
        return backend.by_hand(_deployment(lesson), choices)


def submit(lesson: Lesson, progress: Progress, settings: Settings, runner: "Runner | None" = None) -> Applied:
    """Only apply one part's manifests to the cluster."""
    with _existing(lesson, settings, runner) as (backend, choices):
        return backend.submit(_deployment(lesson), choices, progress)


def forward(
    lesson: Lesson, progress: Progress, settings: Settings, runner: "Runner | None" = None
) -> Applied:
    """Only forward one part's workloads in the cluster to this machine."""
    with _existing(lesson, settings, runner) as (backend, choices):
        return backend.forward(_deployment(lesson), choices, progress)


def status() -> StatusReport:
    """What is up, workload by workload."""
    instance = Instance.load()
    record = instance.record
    name = backend_now()
    backend = backend_for(name or "embedded", instance.directory)
    return StatusReport(
        up=name is not None,
        backend=name,
        upstream=record.upstream if record else None,
        directory=str(instance.directory),
        workloads=backend.status(),
        variations=[found for started in variation_run.started_variations() for found in started.status()],
    )


def logs() -> Sequence[Log]:
    """Every log there is; raises PreflightError when nothing has been started."""
    instance = Instance.locate()
    backend = backend_for(backend_now() or "embedded", instance.directory)
    variations = variation_run.started_variations()
    found = [*backend.logs(), *(log for started in variations for log in started.logs())]
    if not found:
        raise PreflightError(
            "There are no logs, because nothing has been started", hint="Run `workshop up` first"
        )
    return found


def prove(lesson: Lesson, progress: Progress, context: "RunContext") -> None:
    """Test the upstream token behind each login; raises CredentialsError when a new login is needed."""
    deployment, instance = lesson.deployment(), context.instance
    if deployment is None or instance.record is None or instance.record.backend == "embedded":
        return
    from workshop.agent.token_store import TokenStore  # only here: it loads the MCP SDK

    logins = TokenStore(instance.logins).all()
    tokens = {login.resource: login.tokens.access_token for login in logins if login.tokens}
    with _existing(lesson, context.settings, None) as (backend, choices):
        backend.prove(deployment, choices, tokens, progress)


def backend_now() -> BackendName | None:
    """The backend that is up, or None."""
    instance = Instance.load()
    return existing_backend(instance.directory, instance.record.backend if instance.record else None)


def teardown(
    progress: Progress, runner: "Runner | None" = None, choices: ClusterChoices | None = None
) -> Sequence[str]:
    """Stop everything and remove the state, even if damaged; the names of what was stopped."""
    instance, runner = Instance.locate(), runner or _runner()
    with instance.lock(needed=False):
        variations = variation_run.stop_all(progress)
        try:
            name = existing_backend(instance.directory, None)
        except UsageError as error:  # the cluster's record is damaged: local processes can still be ended
            progress.say(error.sentence)
            name = None
        backend = backend_for(name or "embedded", instance.directory, runner, choices)
        # The backend last: it removes the state directory, where the variations' records are.
        stopped = backend.teardown(progress)
    if name is None and (command := forgotten_cluster(runner)):
        progress.say(
            f"Found a kind cluster that has no recorded state; if it is this workshop's: `{command}`"
        )
    return [*variations, *stopped]


def _decide(instance: Instance, lessons: Sequence[Lesson], options: UpOptions, runner: "Runner") -> _Wanted:
    settings = Settings.load(options.env_file)
    recorded = instance.record.backend if instance.record else None
    if seat := seat_of(instance.directory):
        chosen, upstream, reason = _choose_in(seat, options)
    else:
        chosen = choose(options.backend, existing_backend(instance.directory, recorded), runner)
        check_options(chosen.name, options)
        upstream, reason = _choose_upstream(options.upstream, settings, chosen)
    deployments = [found for lesson in lessons if (found := lesson.deployment())]
    if options.seconds is not None:
        deployments = [replace(found, ready_seconds=options.seconds) for found in deployments]
    ports = {**(instance.record.ports if instance.record else {}), **options.ports}
    # The usual ports belong to the unnamed instance, which may run at the same time.
    if instance.is_named:
        ports = _own_ports(ports, deployments)
    _check_ports(ports, deployments)
    # A seat uses the OAuth app of its room.
    if upstream == "github" and not seat:
        from workshop.lab.deployments import require_oauth_app

        require_oauth_app(settings, deployments)
    backend = backend_for(chosen.name, instance.directory, runner, options)
    return _Wanted(backend, deployments, Choices(upstream, settings, ports), reason)


@contextmanager
def _existing(
    lesson: Lesson, settings: Settings, runner: "Runner | None", cluster: ClusterChoices | None = None
) -> Iterator[tuple[Backend, Choices]]:
    with Instance.locate().lock():
        instance = Instance.load()  # only under the lock: until then another command may have changed it
        if instance.record is None:
            raise PreflightError(
                f"Part {lesson.number} needs its workloads, and nothing is up",
                hint="Run `workshop up` first",
            )
        name = existing_backend(instance.directory, instance.record.backend) or "embedded"
        choices = Choices(instance.record.upstream, settings, instance.record.ports)
        yield backend_for(name, instance.directory, runner, cluster), choices


def _runner() -> "Runner":
    from workshop.lab.tools.run import Runner

    return Runner()


def _deployment(lesson: Lesson) -> Deployment:
    deployment = lesson.deployment()
    if deployment is None:
        raise UsageError(
            f"Part {lesson.number} deploys nothing",
            why="It has no manifests: its tools run on this machine",
            hint=f"Run `workshop part {lesson.number} run`: it needs nothing else",
        )
    return deployment


def _choose_upstream(wanted: Upstream | None, settings: Settings, backend: Chosen) -> tuple[Upstream, str]:
    if wanted:
        return wanted, f"{backend.summary}, {wanted} upstream (`--upstream`)"
    if settings.github_client_secret:
        source = settings.github_client_secret.source
        return "github", f"{backend.summary}, GitHub upstream (GITHUB_OAUTH_CLIENT_SECRET is in `{source}`)"
    return "practice", f"{backend.summary}, practice GitHub: no account needed"


def _choose_in(seat: "SeatFile", options: UpOptions) -> tuple[Chosen, Upstream, str]:
    """What a room has decided for its seats; raises UsageError for an option that wants something else."""
    from workshop.lab.room.seat import label_of, refuse_choices

    refuse_choices(seat, options, options.backend, options.upstream)
    chosen = Chosen("kubernetes", label_of(seat))
    if seat.about.practice is None:
        return chosen, "github", f"{chosen.summary}, GitHub upstream"
    return chosen, "practice", f"{chosen.summary}, the room's practice GitHub as {seat.about.practice.user}"


def _names(deployments: Sequence[Deployment]) -> set[str]:
    workloads = (workload for deployment in deployments for workload in deployment.resources.workloads)
    return {PRACTICE_GITHUB, *(workload.name for workload in workloads)}


def _own_ports(ports: Mapping[str, int], deployments: Sequence[Deployment]) -> dict[str, int]:
    """These ports, and a free one for each other workload: a named instance runs beside others."""
    found = dict(ports)
    for name in sorted(_names(deployments) - found.keys()):
        found[name] = free_port(besides=found.values())
    return found


def _check_ports(ports: Mapping[str, int], deployments: Sequence[Deployment]) -> None:
    names = _names(deployments)
    for name, port in ports.items():
        if name not in names:
            raise UsageError(
                f"`{given_as('--port', PORT_VARIABLE, f'{name}={port}')}` names an unknown workload",
                hint=f"Choose {', '.join(sorted(names))}",
            )
        if not LOWEST <= port <= HIGHEST:
            raise UsageError(
                f"Port {port} for `{name}` is out of range", hint=f"Choose one from {LOWEST} to {HIGHEST}"
            )
