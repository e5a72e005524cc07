"""`workshop status`: what is up, what answers, your logins, and your current part."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from workshop.cli.login import expiry, logins_now
from workshop.cli.next import find_next, next_command
from workshop.cli.options import Json
from workshop.cli.terminal import finish
from workshop.core.result import Result, Table

if TYPE_CHECKING:
    from workshop.course.environment import StatusReport
    from workshop.course.next_step import NextStep


def status(*, json: Json = False) -> None:
    """Show what is up, what answers, your logins, your part, and the next command."""
    from workshop.course import environment

    report = environment.status()
    answers, logins, step = _answers(report), logins_now(), find_next(report)
    data = {**asdict(report), "endpoints": answers, "logins": logins, "step": step}
    running = [item.name for item in report.variations if item.state == "running"]
    lines = [*_about_endpoints(answers), *_about_logins(logins), *_about_part(step, up=report.up)]
    if not report.up:
        headline = f"Nothing is up but variations: {len(running)} workloads" if running else "Nothing is up"
        table = _table(report) if running else None
        finish(Result("status", data, headline, lines, table=table, next="`workshop up`"), as_json=json)
        return
    down = [item.name for item in report.workloads if item.state not in ("running", "not visible")]
    result = Result(
        "status",
        data,
        _environment(report),
        [*lines, f"State and logs: {report.directory}"],
        table=_table(report),
        next="`workshop up` starts what is stopped" if down else next_command(step),
    )
    finish(result, as_json=json)


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
    return [f"{text}, not {', '.join(silent)}" if silent else text, *ways_to_register()]


def _about_logins(logins: Sequence[Mapping[str, object]]) -> list[str]:
    ends = [(each["resource"], expiry(each)) for each in logins]
    return [
        f"Login: {resource} ({'expired' if 'just now' in end or 'ago' in end else 'expires'} {end})"
        for resource, end in ends
    ]


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
