"""`workshop up`, `join`, `status`, `logs`, `teardown`: start what the parts need, show it, stop it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from workshop.cli.login import expiry, logins_now
from workshop.cli.next import find_next, following, next_command
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
    Yes,
    complete_logs,
    parse_overrides,
    parse_ports,
)
from workshop.cli.terminal import console, finish, running
from workshop.core.errors import UsageError
from workshop.core.instance import Instance
from workshop.core.invocation import again
from workshop.core.paths import state_home
from workshop.core.result import Result, Table, sentences

if TYPE_CHECKING:
    from workshop.course.environment import StatusReport, UpReport
    from workshop.course.logs import Written
    from workshop.course.next_step import NextStep
    from workshop.lab.room.seat_file import SeatFile


Upstream = Annotated[
    Literal["github", "practice"] | None,
    typer.Option(
        "--upstream",
        help="The real GitHub or the practice one. Default: the real one if `.env` has its secret.",
        show_default=False,
    ),
]


def up(
    *,
    backend: Backend = None,
    upstream: Upstream = None,
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
) -> Result:
    """Start everything the parts need; what already runs unchanged is not restarted."""
    from workshop.course import environment
    from workshop.course.doctor import Machine
    from workshop.course.doctor.examine import before_up
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
            # Only the fast checks: `doctor` makes them all.
            for warning in before_up(Machine(runner, state_home(), env_file)):
                console().warn(warning)
            report = environment.up(find_lessons(), progress, options, runner)
            # In a room, the facilitator sees the seat from its first `up` on.
            share_progress()
    if dry_run:
        return Result("up", planned, planned.reason, planned.commands, next=again(without="--dry-run"))
    lines = [f"{name:<16} {url}" for name, url in report.endpoints.items()]
    if report.kept:
        lines.append(f"Already running: {', '.join(report.kept)}")
    table = _times(report) if console().verbosity > 0 and report.steps else None
    step = "`workshop part 4 by-hand`" if until else following()
    return Result("up", report, report.reason, lines, table, next=step)


def teardown() -> Result:
    """Stop everything that `up` started and remove its state."""
    from workshop.course import environment

    with running() as (progress, runner):
        stopped = environment.teardown(progress, runner)
    line = f"Stopped {', '.join(stopped)}" if stopped else "Nothing was running"
    return Result("teardown", {"stopped": list(stopped)}, line)


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


File = Annotated[
    Path | None, typer.Argument(metavar="SEAT-FILE", help="The file that the facilitator gave you.")
]
Leave = Annotated[bool, typer.Option("--leave", help="Forget the seat; after `workshop teardown`.")]


def join(*, file: File = None, leave: Leave = False, json: Json = False) -> None:
    """Take a seat in a room: `up` then runs the parts in the room's cluster; only kubectl is needed here."""
    from workshop.course.environment import backend_now
    from workshop.lab.room import seat as room

    if leave == (file is not None):
        raise UsageError(
            "`workshop join` needs a seat file, or `--leave`", hint="For example `workshop join monday-07`"
        )
    instance = Instance.locate()
    with running() as (progress, runner), instance.lock():
        if file is None:
            left = room.leave(instance.directory, progress)
        else:
            if room.is_readable_by_others(file):
                console().warn(f"Others on this machine can read the token in `{file}`: `chmod 600 {file}`")
            with progress.step("Check the seat"):
                seat = room.join(file.absolute(), instance.directory, backend_now(), runner)
    if file is None:
        finish(Result("join", {"left": left}, "This instance has no seat any more"), as_json=json)
        return
    data = {
        # The key of the seat's record is a secret.
        **seat.about.model_dump(exclude={"practice": {"record_key"}}),
        "server": seat.server,
        "expires": seat.expires,
        "directory": str(instance.directory),
    }
    headline = f"You have seat {seat.about.seat} of room {seat.about.room}"
    finish(Result("join", data, headline, _about_seat(seat), next="`workshop up`"), as_json=json)


def _about_seat(seat: "SeatFile") -> list[str]:
    """What a person should know about their seat."""
    about = seat.about
    lines = [f"Namespace {about.namespace} at {seat.server}"]
    if about.practice:
        lines.append(f"Your practice user is {about.practice.user}")
    if seat.expires:
        lines.append(f"It works until {seat.expires.astimezone():%Y-%m-%d %H:%M}")
    lines.append("The facilitator sees which parts you ran and which checks passed, and nothing else")
    return [*lines, "WORKSHOP_SHARE_PROGRESS=0 turns that off"]


def status() -> Result:
    """Show what is up, what answers, your logins, your part, and the next command."""
    from workshop.course import environment

    report = environment.status()
    answers, logins, step = _answers(report), logins_now(), find_next(report)
    data = {**asdict(report), "endpoints": answers, "logins": logins, "step": step}
    active = [item.name for item in report.variations if item.state == "running"]
    lines = [*_about_endpoints(answers), *_about_logins(logins), *_about_part(step, up=report.up)]
    if not report.up:
        headline = f"Only variations are up: {len(active)} workloads" if active else "Nothing is up"
        table = _table(report) if active else None
        return Result("status", data, headline, points=sentences(lines), table=table, next="`workshop up`")
    # `up` cannot start what this account may not read.
    down = [item.name for item in report.workloads if item.state not in ("running", "not visible")]
    return Result(
        "status",
        data,
        _environment(report),
        points=sentences([*lines, f"State and logs: {report.directory}"]),
        table=_table(report),
        next="`workshop up` starts what is stopped" if down else next_command(step),
    )


def _answers(report: "StatusReport") -> list[dict[str, object]]:
    """Each address for a person's use, and whether its workload runs."""
    return [
        {"name": item.name, "url": item.url, "answers": item.state == "running"}
        for item in report.workloads
        if item.url and not item.name.endswith("-0")  # `-0` is a server behind its proxy
    ]


def _about_endpoints(answers: Sequence[Mapping[str, object]]) -> list[str]:
    from workshop.course.lessons import ways_to_register

    silent = [str(each["name"]) for each in answers if not each["answers"]]
    if not answers:
        return []
    text = f"Endpoints: {len(answers) - len(silent)} of {len(answers)} answer"
    return [f"{text}; not {', '.join(silent)}" if silent else text, *ways_to_register()]


_WITHOUT_TIME = {"no token": "not completed", "not stated": "no expiry stated"}


def _about_logins(logins: Sequence[Mapping[str, object]]) -> list[str]:
    return [f"Login: {each['resource']} ({_ending(expiry(each))})" for each in logins]


def _ending(end: str) -> str:
    if end in _WITHOUT_TIME:
        return _WITHOUT_TIME[end]
    return f"{'expired' if 'just now' in end or 'ago' in end else 'expires'} {end}"


def _about_part(step: "NextStep", *, up: bool) -> list[str]:
    from workshop.course.lessons import find_lessons

    titles = [lesson.title for lesson in find_lessons() if lesson.number == step.part]
    return [f"Part: {step.part}, {title}" + (f". {step.why}" if up else "") for title in titles]


def _table(report: "StatusReport") -> Table:
    wide = any(item.detail for item in report.workloads)
    columns = ("workload", "state", "address", "pid", *(["what it is"] if wide else []))
    rows = [
        (item.name, item.state, item.url, str(item.pid or ""), item.detail)[: len(columns)]
        for item in (*report.workloads, *report.variations)
    ]
    return Table(columns, rows)


def _environment(report: "StatusReport") -> str:
    if report.upstream is None:
        return f"{report.backend} backend, where no `workshop up` has completed"
    return f"{report.backend} backend, {report.upstream} upstream"


Workload = Annotated[
    str | None,
    typer.Argument(
        metavar="[WORKLOAD]",
        help="This workload only, such as github-remote.",
        show_default=False,
        autocompletion=complete_logs,
    ),
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Follow the log until Ctrl-C.")]
Lines = Annotated[
    int,
    typer.Option("--lines", "-n", min=0, max=10_000, help="How many of the last lines to show of each log."),
]


def logs(
    workload: Workload = None,
    *,
    follow: Follow = False,
    lines: Lines = 20,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """Show the last log lines of the workloads; secrets are hidden."""
    from workshop.course.logs import Logs

    if follow and json:
        raise UsageError("`--json` prints one document, but `--follow` has no end", hint="Omit one of them")
    found = Logs(workload, env_file)
    last = found.last(lines)
    if not follow:
        named = len(last) > 1
        shown = [line for written in last for line in _shown(written, named=named)]
        if not (shown or json):
            console().say("The logs are empty")
        again = f"`workshop logs {workload} --follow`" if workload else "`workshop logs --follow`"
        finish(Result("logs", {"logs": last}, lines=shown, next=again), as_json=json)
        return
    _print(last, named=len(last) > 1)
    for written in found.follow():
        _print([written], named=len(found.names) > 1)


def _print(found: "list[Written]", *, named: bool) -> None:
    for written in found:
        for line in _shown(written, named=named):
            console().out(line)


def _shown(written: "Written", *, named: bool) -> list[str]:
    return [f"{written.name} | {line}" if named else line for line in written.lines]
