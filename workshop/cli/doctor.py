"""`workshop doctor`, `config` and `report`: for when something is wrong."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workshop.cli.next import following
from workshop.cli.options import EnvFile
from workshop.cli.terminal import console, running
from workshop.core.errors import PreflightError
from workshop.core.result import Result, Table

if TYPE_CHECKING:
    from workshop.course.doctor import Finding

ForCluster = Annotated[bool, typer.Option("--cluster", help="Also check the tools that a cluster needs.")]
Online = Annotated[bool, typer.Option("--online", help="Also check that the image registry answers.")]
Fix = Annotated[bool, typer.Option("--fix", help="Repair what can be repaired safely.")]
All = Annotated[bool, typer.Option("--all", help="Also show the checks that passed.")]
Target = Annotated[Path, typer.Argument(metavar="FILE", help="The zip file to write.")]
_MARKS = {"ok": "✓", "info": "·", "warn": "!", "fail": "✗"}


def doctor(
    *,
    cluster: ForCluster = False,
    online: Online = False,
    fix: Fix = False,
    show_all: All = False,
    env_file: EnvFile = None,
) -> Result:
    """Check that this machine is ready; exit 3 when something would fail."""
    from workshop.core.paths import state_home
    from workshop.course.doctor import Machine
    from workshop.course.doctor.examine import examine, repair

    with running() as (progress, runner), progress.step("Check this machine"):
        machine = Machine(runner, state_home(), env_file, cluster=cluster, online=online)
        findings = list(examine(machine))
        mended = repair(findings) if fix else []
        # Again, because a repair that did not help must not count as one.
        findings = list(examine(machine)) if mended else findings
    shown = [found for found in findings if show_all or found.severity in {"warn", "fail"}]
    rows = [(_MARKS[found.severity], found.id, found.found, found.remedy) for found in shown]
    failed = any(found.severity == "fail" for found in findings)
    data = {"findings": [_finding(found) for found in findings], "mended": mended}
    return Result(
        "doctor",
        data,
        headline([found.severity for found in findings], show_all=show_all),
        mended,
        table=Table(("", "check", "found", "remedy"), rows) if rows else None,
        next="" if failed else following(),
        exit_code=PreflightError.exit_code if failed else 0,
    )


def config(*, env_file: EnvFile = None) -> Result:
    """Show every setting, its value and where it came from; secrets as `***`."""
    from workshop.course.report import configuration

    found = configuration(env_file)
    rows = [(item.name, item.value, item.source) for item in found]
    return Result("config", found, table=Table(("setting", "value", "from"), rows))


def report(file: Target = Path("workshop-report.zip"), *, env_file: EnvFile = None) -> Result:
    """Write a zip file with versions, findings, settings and logs, without secrets."""
    from workshop.course.report import write_report

    with console().progress() as progress, progress.step("Collect versions, findings, settings and logs"):
        names = write_report(file.absolute(), _examined(env_file), env_file)
    return Result(
        "report",
        {"file": str(file), "contents": names},
        f"Wrote {file}: {', '.join(names)}",
        next="read it before you send it; it contains no secrets, tokens, home folder or host name",
    )


def _examined(env_file: Path | None) -> list[dict[str, object]]:
    """Every finding, as `--json` shows it."""
    from workshop.core.paths import state_home
    from workshop.course.doctor import Machine
    from workshop.course.doctor.examine import examine
    from workshop.lab.tools.run import Runner

    return [_finding(found) for found in examine(Machine(Runner(), state_home(), env_file))]


def _finding(found: "Finding") -> dict[str, object]:
    return {
        "id": found.id,
        "severity": found.severity,
        "found": found.found,
        "remedy": found.remedy,
        "fixable": found.fixable,
    }


def headline(severities: list[str], *, show_all: bool) -> str:
    """The findings in one line."""
    bad, warned = severities.count("fail"), severities.count("warn")
    if bad:
        return f"Not ready: {bad} of {len(severities)} checks failed"
    text = f"Ready: {len(severities)} checks" + (f", {warned} with a warning" if warned else ", none failed")
    return text if show_all else f"{text}; `--all` shows each"
