"""`workshop probe URL`: weaknesses of an MCP server that show without a login, or with the agent's own."""

from typing import TYPE_CHECKING, Annotated

import typer

from workshop.cli.connect import ApproveAs, NoBrowser
from workshop.cli.options import Json
from workshop.cli.terminal import console, finish
from workshop.core.errors import CheckError, UsageError
from workshop.core.invocation import again
from workshop.core.result import Result, Table
from workshop.core.text import one_line, plain

if TYPE_CHECKING:
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
    json: Json = False,
) -> None:
    """Check an MCP server for weaknesses with at most 20 requests and no login, unless you ask for one."""
    from workshop.audit.probe.model import Target
    from workshop.audit.probe.report import probe as run

    target = Target.parse(url)  # before the address is shown: it may contain a password
    with console().progress() as progress, progress.step(f"Probe {one_line(target.url, _MOST)}") as step:
        report = run(
            target.url,
            follow=follow,
            sending=lambda request: step.note(one_line(request)),
            signing=signing_of(progress, login=login, no_browser=no_browser, approve_as=approve_as),
        )
        step.note(f"{len(report.requests)} requests")
    result = Result(
        "probe",
        report,
        _headline(report),
        [f"Not looked at: {one_line(skipped, _MOST)}" for skipped in report.not_looked_at],
        table=_table(report, all_checks=all_checks),
        markdown=_remedies(report),
        next="" if all_checks else f"{again('--all')} also lists what passed",
        exit_code=CheckError.exit_code if report.failed else 0,
    )
    finish(result, as_json=json)


def signing_of(
    progress: "Progress", *, login: bool, no_browser: bool, approve_as: str | None
) -> "Signing | None":
    """How the agent logs in; None without `--login`. Raises UsageError for options that need it."""
    if not login:
        for option, given in (("--no-browser", no_browser), ("--approve-as", approve_as)):
            if given:
                raise UsageError(f"`{option}` needs `--login`", hint=f"{again('--login')} logs in")
        return None
    from workshop.agent.approval import approval_for
    from workshop.agent.events import ApprovalNeeded, Event, Warned
    from workshop.agent.token_store import TokenStore
    from workshop.audit.sign_in import Signing
    from workshop.core.instance import Instance

    def observe(event: Event) -> None:
        if isinstance(event, ApprovalNeeded):
            progress.tell(f"Log in at {plain(event.url)}")
        elif isinstance(event, Warned):
            progress.tell(f"Warning: {plain(event.text)}")

    tokens = TokenStore(Instance.locate().directory / "logins", observe)
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
