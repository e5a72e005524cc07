"""`workshop probe URL`, `workshop compare URL`, `workshop part 4 compare`: MCP servers from outside."""

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workshop.cli.login import observe
from workshop.cli.options import ApproveAs, Json, NoBrowser, complete_systems
from workshop.cli.terminal import console, finish
from workshop.core.errors import CheckError, UsageError, WorkshopError
from workshop.core.interrupts import interrupts
from workshop.core.invocation import again
from workshop.core.result import Result, Table
from workshop.core.text import counted, one_line
from workshop.course.lessons import Lesson, find_lessons, variations_of

if TYPE_CHECKING:
    from workshop.audit.compare.comparison import Column, Comparison
    from workshop.audit.probe.report import Report
    from workshop.audit.sign_in import Signing
    from workshop.core.console import Progress

Url = Annotated[str, typer.Argument(metavar="URL", help="An MCP server, such as http://localhost:8080/mcp.")]
Follow = Annotated[
    bool, typer.Option("--follow", help="Also check its authorization server on another host.")
]
LogIn = Annotated[
    bool, typer.Option("--login", help="Also check what needs a token, with the agent's own login there.")
]
All = Annotated[bool, typer.Option("--all", help="Also list what passed, and what is undecided.")]
_MOST = 300


def probe(
    url: Url,
    *,
    follow: Follow = False,
    login: LogIn = False,
    no_browser: NoBrowser = False,
    approve_as: ApproveAs = None,
    all_checks: All = False,
) -> Result:
    """Check an MCP server for weaknesses with at most 20 requests and no login, unless you ask for one."""
    from workshop.audit.probe.model import Target
    from workshop.audit.probe.report import probe as run

    target = Target.parse(url)  # before the address is shown: it may contain a password
    with console().progress() as progress, progress.step(f"Probe {one_line(target.url, _MOST)}") as step:
        report = run(
            target.url,
            follow=follow,
            sending=lambda request: step.note(one_line(request)),
            signing=_signing(login=login, no_browser=no_browser, approve_as=approve_as),
        )
        step.note(f"{len(report.requests)} requests")
    return Result(
        "probe",
        report,
        _headline(report),
        [f"Not looked at: {one_line(skipped, _MOST)}" for skipped in report.not_looked_at],
        table=_table(report, all_checks=all_checks),
        markdown=_remedies(report),
        next="" if all_checks else f"{again('--all')} also lists what passed",
        exit_code=CheckError.exit_code if report.failed else 0,
    )


def _signing(*, login: bool, no_browser: bool, approve_as: str | None) -> "Signing | None":
    """How the agent logs in; None without `--login`. Raises UsageError for options that need it."""
    if not login:
        for option, given in (("--no-browser", no_browser), ("--approve-as", approve_as)):
            if given:
                raise UsageError(f"`{option}` needs `--login`", hint=f"{again('--login')} logs in")
        return None
    from workshop.agent.approval import approval_for
    from workshop.agent.token_store import TokenStore
    from workshop.audit.sign_in import Signing
    from workshop.core.instance import Instance

    tokens = TokenStore(Instance.locate().logins, observe)
    return Signing(tokens, approval_for(no_browser=no_browser, approve_as=approve_as), observe)


def _headline(report: "Report") -> str:
    from workshop.audit.probe.model import Severity

    counts = [f"{number} {severity}" for severity in Severity if (number := report.count(severity))]
    found = f"Findings: {', '.join(counts)}" if counts else "No finding"
    undecided = f", {len(report.undecided)} undecided" if report.undecided else ""
    requests = f"{len(report.requests)} requests"
    return (
        f"{found}; {len(report.passed)} checks passed{undecided}; {requests} to {one_line(report.url, _MOST)}"
    )


def _table(report: "Report", *, all_checks: bool) -> Table | None:
    rows = [(str(item.severity), item.id, item.title, one_line(item.seen, _MOST)) for item in report.findings]
    if all_checks:
        rows += [("unknown", item.id, item.title, one_line(item.seen, _MOST)) for item in report.undecided]
        rows += [("passed", item.id, item.title, one_line(item.seen, _MOST)) for item in report.passed]
    return Table(("severity", "id", "requirement", "observed"), rows) if rows else None


def _remedies(report: "Report") -> str:
    lines = [f"- **{item.id}** {item.meaning} *Fix:* {item.mend}" for item in report.findings]
    return "\n".join(lines)


Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="NAME",
        help="Compare only this one (repeatable). Default: all.",
        show_default=False,
        autocompletion=complete_systems,
    ),
]
OnlySome = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="NAME",
        help="Compare with this one only (repeatable). Default: all.",
        show_default=False,
    ),
]
Weak = Annotated[bool, typer.Option("--weak", help="Include the weak edition; worker has one.")]
Html = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Also write an HTML page to FILE.", show_default=False),
]
_LABEL, _CELL = 18, 20
"""Terminal columns: for the labels, and for each system."""


def add_compare(group: typer.Typer, lesson: Lesson) -> None:
    """Add `compare` to a lesson that has variations."""

    @group.command("compare")
    def compare(*, only: Only = None, weak: Weak = False, html: Html = None, json: Json = False) -> None:
        """Run and probe every way to do this part; show the results side by side."""
        _compare("part compare", lesson, only, lambda _progress: (), weak=weak, html=html, as_json=json)


def compare(
    url: Url,
    *,
    login: LogIn = False,
    no_browser: NoBrowser = False,
    approve_as: ApproveAs = None,
    only: OnlySome = None,
    weak: Weak = False,
    html: Html = None,
    json: Json = False,
) -> None:
    """Compare an MCP server of your own with the five ways to do part 4."""
    from workshop.audit.compare.comparison import outside
    from workshop.audit.probe.model import Target

    target = Target.parse(url)
    lesson = next(lesson for lesson in find_lessons() if variations_of(lesson))

    def own(progress: "Progress") -> "Sequence[Column]":
        signing = _signing(login=login, no_browser=no_browser, approve_as=approve_as)
        with progress.step(f"Probe {one_line(target.url, 300)}") as step:
            return [interrupts.run(outside(target, signing, lambda text: step.note(one_line(text))))]

    _compare("compare", lesson, only, own, weak=weak, html=html, as_json=json)


def _compare(
    command: str,
    lesson: Lesson,
    only: Sequence[str] | None,
    others: "Callable[[Progress], Sequence[Column]]",
    *,
    weak: bool,
    html: Path | None,
    as_json: bool,
) -> None:
    """Compare the ways to do the part, after what `others` finds, and show and write the result."""
    from workshop.audit.compare import comparison as comparing
    from workshop.audit.compare.systems import systems_of

    systems = systems_of(lesson, only or (), weak=weak)
    # Before the run of some minutes, not after it.
    if html is not None:
        comparing.check_target(html)
    with console().progress() as progress:
        found = comparing.compare(systems, progress, others(progress))
    if html is not None:
        comparing.write(found, html)
    _finish(command, found, html, as_json=as_json)


def _finish(command: str, found: "Comparison", html: Path | None, *, as_json: bool) -> None:
    # A pipe has no width, so it gets one table.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    tables = [] if as_json else list(tables_for(found.columns, width))
    failed = [one_line(f"{one.name} did not start: {one.text}", 600) for one in found.not_started]
    page = f"{again('--html', 'compare.html')} writes a page with the evidence"
    shown = f"`{html}` has the evidence" if html else page
    code = WorkshopError.exit_code if failed else 0
    last = Result(command, _data(found, html), compared(found), failed, next=shown, exit_code=code)
    for table in tables[:-1]:
        console().render(replace(last, table=table, next=""))
        last = replace(last, headline="", lines=[""])  # shown with the first table
    finish(replace(last, table=tables[-1] if tables else None), as_json=as_json)


def compared(found: "Comparison") -> str:
    """A comparison in one line: how much was compared, and what is missing."""
    cells = sum(len(column.cells) for column in found.columns)
    missing = f", {found.not_observed} not observed" if found.not_observed else ""
    failed = f"; {len(found.not_started)} did not start" if found.not_started else ""
    systems = counted(len(found.columns), "system")
    return f"{systems}, {cells} observations{missing}, {found.seconds:.0f} s{failed}"


def tables_for(columns: Sequence["Column"], width: int | None) -> Iterator[Table]:
    """One table; several where the terminal is narrow, down to a list for each system."""
    from workshop.audit.compare.rows import ROWS

    each = max(1, (width - _LABEL) // _CELL) if width else max(1, len(columns))
    for start in range(0, len(columns), each):
        some = columns[start : start + each]
        rows = [(row.label, *(column.cells[row.id].value for column in some)) for row in ROWS]
        yield Table(("", *(column.name for column in some)), rows)


def _data(found: "Comparison", html: Path | None) -> dict[str, Any]:
    from workshop.audit.compare.rows import ROWS

    rows = [{"id": row.id, "label": row.label, "question": row.question} for row in ROWS]
    return {
        "rows": rows,
        "systems": [asdict(column) for column in found.columns],
        "not_started": [asdict(one) for one in found.not_started],
        "seconds": round(found.seconds, 1),
        "html": str(html) if html else None,
    }
