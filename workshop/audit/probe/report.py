"""The probe from end to end: ask, judge, report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workshop.audit.probe.checks import CHECKS
from workshop.audit.probe.evidence import Evidence
from workshop.audit.probe.exchange import Exchange
from workshop.audit.probe.requests import collect
from workshop.audit.probe.target import Target
from workshop.audit.probe.verdicts import Found, Passed, Severity, Unknown
from workshop.core.interrupts import interrupts

_WORST_FIRST = tuple(Severity)
_LONGEST = 200
"""Characters of what a server said that a report repeats."""


@dataclass(frozen=True)
class Finding:
    """One problem, what it means, and how to fix it."""

    id: str
    severity: Severity
    title: str
    seen: str
    meaning: str
    mend: str


@dataclass(frozen=True)
class Remark:
    """A check that passed, or that could not be decided."""

    id: str
    title: str
    seen: str


@dataclass(frozen=True)
class Report:
    """What one probe found, and the requests that it sent."""

    url: str
    findings: Sequence[Finding]
    passed: Sequence[Remark]
    undecided: Sequence[Remark]
    not_looked_at: Sequence[str]
    requests: Sequence[str]

    @property
    def failed(self) -> bool:
        """Whether a finding is high or medium."""
        return any(finding.severity in {Severity.HIGH, Severity.MEDIUM} for finding in self.findings)

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)


def probe(url: str, *, follow: bool = False, sending: Callable[[str], None] = lambda _: None) -> Report:
    """Probe the MCP server at `url` with at most 20 requests; `sending` is called with each.

    Raises UsageError for an invalid URL, and WorkshopError, PreflightError or DeadlineError when no MCP
    server answers there.
    """
    return interrupts.run(probe_async(Target.parse(url), follow=follow, sending=sending))


async def probe_async(target: Target, *, follow: bool, sending: Callable[[str], None]) -> Report:
    """As `probe`, in a running event loop."""
    async with Exchange(target, sending) as exchange:
        evidence = await collect(target, exchange, follow=follow)
    return judge(evidence, exchange.requests)


def judge(evidence: Evidence, requests: Sequence[str]) -> Report:
    """Run every check on the evidence."""
    findings, passed, undecided = [], [], []
    for check in CHECKS:
        verdict = check.judge(evidence)
        if isinstance(verdict, Found):
            findings.append(
                Finding(
                    check.id,
                    verdict.severity,
                    check.title,
                    _said(verdict.seen),
                    check.meaning,
                    check.mend,
                )
            )
        elif isinstance(verdict, Passed):
            passed.append(Remark(check.id, check.title, _said(verdict.seen)))
        elif isinstance(verdict, Unknown):
            undecided.append(Remark(check.id, check.title, _said(verdict.why)))
    findings.sort(key=lambda finding: _WORST_FIRST.index(finding.severity))
    return Report(
        evidence.target.url,
        findings,
        passed,
        undecided,
        [_said(skipped) for skipped in evidence.not_looked_at],
        tuple(requests),
    )


def _said(text: str) -> str:
    """Bounded, and without the halves of surrogate pairs that JSON can spell and no terminal can show."""
    return text[:_LONGEST].encode("utf-8", "backslashreplace").decode()
