"""Run the checks in order; an error in a check becomes a finding."""

from collections.abc import Iterator, Sequence

from workshop.core.errors import PreflightError, WorkshopError, reason
from workshop.course.doctor import Check, Finding, Machine, cluster, computer

# Only checks that start no program but git: `up` makes them each time.
BEFORE_UP: tuple[Check, ...] = (
    computer.state_directory,
    computer.disk,
    computer.readers,
    computer.git_ignored,
    computer.unknown_keys,
)
ALL: tuple[Check, ...] = (
    computer.python,
    computer.packages,
    computer.terminal,
    computer.browser,
    *BEFORE_UP,
    computer.env_file,
    computer.keys,
    computer.ports,
    computer.inotify,
    cluster.engine,
    cluster.tools,
    cluster.leftovers,
    cluster.images,
    cluster.clock,
    cluster.subnets,
    cluster.registry_login,
    computer.localhost,
    computer.variables,
    computer.proxy,
    computer.registry,
    computer.client_documents,
)


def examine(machine: Machine, checks: Sequence[Check] = ALL) -> Iterator[Finding]:
    """Every finding of every check, one by one."""
    for check in checks:
        name = check.__name__.replace("_", "-")
        try:
            yield from check(machine)
        except WorkshopError as error:
            yield Finding(name, "fail", error.sentence, error.hint)
        except (OSError, ValueError) as error:
            yield Finding(name, "info", f"This could not be checked: {reason(error)}")


def repair(findings: Sequence[Finding]) -> list[str]:
    """Repair what can be repaired; one sentence for each repair."""
    return [finding.repair() for finding in findings if finding.repair is not None]


def before_up(machine: Machine) -> list[str]:
    """The warnings of the fast checks; raises PreflightError when the state cannot be written."""
    warnings = []
    for finding in examine(machine, BEFORE_UP):
        if finding.severity == "fail" and finding.id == "state-directory":
            raise PreflightError(finding.found, hint=finding.remedy)
        if finding.severity in {"fail", "warn"}:
            warnings.append(f"{finding.found}. {finding.remedy}")
    return warnings
