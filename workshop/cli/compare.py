"""`workshop part 4 compare`, and `workshop compare URL` with a server of your own, side by side."""

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workshop.cli.completion import complete_systems
from workshop.cli.connect import ApproveAs, NoBrowser
from workshop.cli.options import Json
from workshop.cli.probe import LogIn, Url, signing_of
from workshop.cli.terminal import console, finish
from workshop.core.errors import WorkshopError
from workshop.core.interrupts import interrupts
from workshop.core.invocation import again
from workshop.core.result import Result, Table
from workshop.core.text import one_line
from workshop.course.lessons import Lesson, find_lessons, variations_of

if TYPE_CHECKING:
    from workshop.audit.compare.comparison import Column, Comparison
    from workshop.core.console import Progress

Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="NAME",
        help="Compare only this one; may be repeated. Unset: all.",
        show_default=False,
        autocompletion=complete_systems,
    ),
]
OnlySome = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="NAME",
        help="Compare with only this one; may be repeated. Unset: all.",
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
    from workshop.audit.compare.outside import outside
    from workshop.audit.probe.model import Target

    target = Target.parse(url)
    lesson = next(lesson for lesson in find_lessons() if variations_of(lesson))

    def own(progress: "Progress") -> "Sequence[Column]":
        signing = signing_of(progress, login=login, no_browser=no_browser, approve_as=approve_as)
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
    if html is not None:
        comparing.check_target(html)
    with console().progress() as progress:
        found = comparing.compare(systems, progress, others(progress))
    if html is not None:
        comparing.write(found, html)
    _finish(command, found, html, as_json=as_json)


def _finish(command: str, found: "Comparison", html: Path | None, *, as_json: bool) -> None:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    tables = [] if as_json else list(tables_for(found.columns, width))
    failed = [one_line(f"{one.name} did not start: {one.text}", 600) for one in found.not_started]
    page = f"{again('--html', 'compare.html')} writes a page with the evidence"
    shown = f"`{html}` has the evidence" if html else page
    code = WorkshopError.exit_code if failed else 0
    last = Result(command, _data(found, html), _headline(found), failed, next=shown, exit_code=code)
    for table in tables[:-1]:
        console().render(replace(last, table=table, next=""))
        last = replace(last, headline="", lines=[""])  # shown with the first table
    finish(replace(last, table=tables[-1] if tables else None), as_json=as_json)


def _headline(found: "Comparison") -> str:
    cells = sum(len(column.cells) for column in found.columns)
    unseen = f", {found.unseen} not observed" if found.unseen else ""
    failed = f"; {len(found.not_started)} did not start" if found.not_started else ""
    return f"{len(found.columns)} systems, {cells} observations{unseen}, {found.seconds:.0f} s{failed}"


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
