"""`workshop up`: start everything the parts need."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

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
    UpstreamChoice,
    Yes,
    parse_overrides,
    parse_ports,
)
from workshop.cli.terminal import console, finish, running
from workshop.paths import state_home
from workshop.result import Result, Table

if TYPE_CHECKING:
    from workshop.backends.steps import StepTime


def up(
    *,
    backend: Backend = None,
    upstream: UpstreamChoice = None,
    port: Ports = None,
    env_file: EnvFile = None,
    dry_run: DryRun = False,
    keep: Keep = False,
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
    """Start everything the parts need; what already runs is left alone."""
    from workshop.doctor.examine import before_up
    from workshop.doctor.finding import Machine
    from workshop.lessons import environment
    from workshop.lessons.find import find_lessons

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
        seconds=timeout,
    )
    with running() as (progress, runner):
        if dry_run:
            planned = environment.plan(find_lessons(), options, runner)
        else:
            for warning in before_up(Machine(runner, state_home(), env_file)):
                console().warn(warning)
            report = environment.up(find_lessons(), progress, options, runner)
    if dry_run:
        finish(Result("up", planned, planned.reason, planned.commands, next="`workshop up`"), as_json=json)
        return
    lines = [f"{name:<16} {url}" for name, url in report.endpoints.items()]
    if report.kept:
        lines.append(f"Already running: {', '.join(report.kept)}")
    table = _times(report.steps) if console().verbosity > 0 and report.steps else None
    finish(Result("up", report, report.reason, lines, table, next="`workshop part 1 show`"), as_json=json)


def _times(steps: Sequence["StepTime"]) -> Table:
    """Where the time went."""
    columns = ("Step", "Start", "Took", "Waited for", "Critical path")
    rows = [
        (
            step.name,
            f"{step.start:.1f} s",
            "there already" if step.kept else f"{step.seconds:.1f} s",
            step.waited_for,
            "●" if step.critical else "",
        )
        for step in steps
    ]
    total = max(step.start + step.seconds for step in steps)
    return Table(columns, rows, f"Where the {total:.1f} s went")
