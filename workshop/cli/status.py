"""`workshop status`: what exists now."""

from typing import TYPE_CHECKING

from workshop.cli.options import Json
from workshop.cli.terminal import finish
from workshop.result import Result, Table

if TYPE_CHECKING:
    from workshop.lessons.environment import StatusReport


def status(*, json: Json = False) -> None:
    """Show what is up, where it answers, and the next command."""
    from workshop.lessons import environment

    report = environment.status()
    if not report.up:
        finish(Result("status", report, "Nothing is up", next="`workshop up`"), as_json=json)
        return
    rows = [_row(item.name, item.state, item.url, item.pid, item.detail) for item in report.workloads]
    wide = any(item.detail for item in report.workloads)
    columns = ("workload", "state", "address", "pid", *(["what it is"] if wide else []))
    down = [item.name for item in report.workloads if item.state != "running"]
    result = Result(
        "status",
        report,
        f"{_told(report)}; state and logs in {report.directory}",
        table=Table(columns, [row[: len(columns)] for row in rows]),
        next="`workshop up` starts what is stopped" if down else "`workshop part list`",
    )
    finish(result, as_json=json)


def _told(report: "StatusReport") -> str:
    if report.upstream is None:
        return f"{report.backend} backend, where no `workshop up` has come to its end"
    return f"{report.backend} backend, {report.upstream} upstream"


def _row(name: str, state: str, url: str, pid: int | None, detail: str) -> tuple[str, ...]:
    return (name, state, url, str(pid or ""), detail)
