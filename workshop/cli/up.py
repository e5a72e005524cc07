"""`workshop up` and `teardown`: start everything the parts need, and stop it."""

from typing import TYPE_CHECKING

from workshop.cli.next import following
from workshop.cli.options import (
    Backend,
    Bundle,
    ClusterName,
    Context,
    DryRun,
    EnvFile,
    InstallOperator,
    Json,
    Keep,
    Namespace,
    Overrides,
    Ports,
    Timeout,
    Until,
    UpstreamChoice,
    Yes,
    parse_overrides,
    parse_ports,
)
from workshop.cli.terminal import console, finish, running
from workshop.core.paths import state_home
from workshop.core.result import Result, Table

if TYPE_CHECKING:
    from workshop.course.environment import UpOptions, UpReport


def up(
    *,
    backend: Backend = None,
    upstream: UpstreamChoice = None,
    port: Ports = None,
    env_file: EnvFile = None,
    dry_run: DryRun = False,
    keep: Keep = False,
    until: Until = None,
    timeout: Timeout = None,
    yes: Yes = False,
    cluster_name: ClusterName = None,
    bundle: Bundle = None,
    override: Overrides = None,
    context: Context = None,
    namespace: Namespace = None,
    install_operator: InstallOperator = False,
    json: Json = False,
) -> None:
    """Start everything the parts need; what already runs unchanged is not restarted."""
    from workshop.course import environment
    from workshop.course.doctor.examine import before_up
    from workshop.course.doctor.finding import Machine
    from workshop.course.lessons import find_lessons
    from workshop.course.progress import share_progress

    options = environment.UpOptions(
        backend=backend,
        upstream=upstream,
        ports=parse_ports(port),
        env_file=env_file,
        cluster_name=cluster_name,
        overrides=parse_overrides(override),
        bundle=bundle,
        context=context,
        namespace=namespace,
        install_operator=install_operator,
        yes=yes,
        keep=keep,
        until=until,
        seconds=timeout,
    )
    with running() as (progress, runner):
        if dry_run:
            planned = environment.plan(find_lessons(), options, runner)
        else:
            for warning in before_up(Machine(runner, state_home(), env_file)):
                console().warn(warning)
            report = environment.up(find_lessons(), progress, options, runner)
            share_progress()
    if dry_run:
        finish(Result("up", planned, planned.reason, planned.commands, next=_again(options)), as_json=json)
        return
    lines = [f"{name:<16} {url}" for name, url in report.endpoints.items()]
    if report.kept:
        lines.append(f"Already running: {', '.join(report.kept)}")
    table = _times(report) if console().verbosity > 0 and report.steps else None
    step = "`workshop part 4 by-hand`" if until else following()
    finish(Result("up", report, report.reason, lines, table, next=step), as_json=json)


def teardown(*, json: Json = False) -> None:
    """Stop everything that `up` started and remove its state."""
    from workshop.course import environment

    with running() as (progress, runner):
        stopped = environment.teardown(progress, runner)
    line = f"Stopped {', '.join(stopped)}" if stopped else "Nothing was running"
    finish(Result("teardown", {"stopped": list(stopped)}, line), as_json=json)


def _again(options: "UpOptions") -> str:
    """The command that does what was planned, with the options that were given."""
    from workshop.lab.tools.run import copyable

    given: list[tuple[str, object]] = [
        ("--backend", options.backend),
        ("--upstream", options.upstream),
        *(("--port", f"{name}={port}") for name, port in options.ports.items()),
        ("--env-file", options.env_file),
        ("--keep", options.keep),
        ("--until", options.until),
        ("--timeout", f"{options.seconds:g}" if options.seconds else None),
        ("--yes", options.yes),
        ("--cluster-name", options.cluster_name),
        ("--bundle", options.bundle),
        *(("--override", f"{name}={value}") for name, value in options.overrides.items()),
        ("--context", options.context),
        ("--namespace", options.namespace),
        ("--install-operator", options.install_operator),
    ]
    words = ["workshop", "up"]
    for option, value in given:
        if value:
            words += [option] if value is True else [option, str(value)]
    return f"`{copyable(words)}`"


def _times(report: "UpReport") -> Table:
    """The time of each step."""
    columns = ("Step", "Start", "Took", "Waited for", "Critical path")
    rows = [
        (
            step.name,
            f"{step.start:.1f} s",
            "there already" if step.kept else f"{step.seconds:.1f} s",
            step.waited_for,
            "●" if step.critical else "",
        )
        for step in report.steps
    ]
    total = max(step.start + step.seconds for step in report.steps)
    return Table(columns, rows, f"Where the {total:.1f} s went")
