"""`workshop status`: what exists now."""

from workshop.cli.options import Json
from workshop.cli.terminal import finish
from workshop.result import Result, Table


def status(*, json: Json = False) -> None:
    """Show what is up, where it answers, and the next command."""
    from workshop.lessons import environment

    report = environment.status()
    if not report.up:
        finish(Result("status", report, "Nothing is up", next="`workshop up`"), as_json=json)
        return
    rows = [(item.name, item.state, item.url, str(item.pid or "")) for item in report.workloads]
    down = [item.name for item in report.workloads if item.state != "running"]
    result = Result(
        "status",
        report,
        f"{report.backend} backend, {report.upstream} upstream; state and logs in {report.directory}",
        table=Table(("workload", "state", "address", "pid"), rows),
        next="`workshop up` starts what is stopped" if down else "`workshop part list`",
    )
    finish(result, as_json=json)
