"""The probe from end to end: send the requests, run the checks, report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workshop.audit.probe.checks import CHECKS
from workshop.audit.probe.exchange import ALL_SECONDS, Exchange
from workshop.audit.probe.model import Evidence, Found, Passed, Severity, Target, Unknown
from workshop.audit.probe.requests import collect
from workshop.core.interrupts import interrupts

_WORST_FIRST = tuple(Severity)
_LONGEST = 200
"""Characters of a server's text that a report repeats."""


@dataclass(frozen=True)
class Finding:
    """One problem: what was `seen`, what it means, and how to fix it (`mend`). The names are JSON keys."""

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
    """The results of one probe, and the requests that it sent, each as method and URL without query."""

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


def probe(
    url: str,
    *,
    follow: bool = False,
    sending: Callable[[str], None] = lambda _: None,
    seconds: float = ALL_SECONDS,
) -> Report:
    """Probe the MCP server at `url` with at most 20 requests; `sending` is called with each.

    After `seconds` no further request is sent.

    Raises UsageError for an invalid URL, and WorkshopError, PreflightError or DeadlineError when no MCP
    server answers there.
    """
    return interrupts.run(probe_async(Target.parse(url), follow=follow, sending=sending, seconds=seconds))


async def probe_async(
    target: Target, *, follow: bool, sending: Callable[[str], None], seconds: float = ALL_SECONDS
) -> Report:
    """As `probe`, in a running event loop."""
    async with Exchange(target, sending, seconds) as exchange:
        evidence = await collect(target, exchange, follow=follow)
    return judge(evidence, exchange.requests)


def judge(evidence: Evidence, requests: Sequence[str]) -> Report:
    """Run every check on the evidence; findings are sorted by severity, the worst first."""
    findings, passed, undecided = [], [], []
    for check in CHECKS:
        verdict = check.judge(evidence)
        if isinstance(verdict, Found):
            findings.append(
                Finding(
                    check.id,
                    verdict.severity,
                    check.title,
                    _bounded(verdict.detail),
                    check.meaning,
                    check.fix,
                )
            )
        elif isinstance(verdict, Passed):
            passed.append(Remark(check.id, check.title, _bounded(verdict.detail)))
        elif isinstance(verdict, Unknown):
            undecided.append(Remark(check.id, check.title, _bounded(verdict.why)))
    findings.sort(key=lambda finding: _WORST_FIRST.index(finding.severity))
    return Report(
        evidence.target.url,
        findings,
        passed,
        undecided,
        [_bounded(skipped) for skipped in evidence.not_looked_at],
        tuple(requests),
    )


def _bounded(text: str) -> str:
    """Cut the text, and escape halves of surrogate pairs, which JSON can contain and no terminal can show."""
    return text[:_LONGEST].encode("utf-8", "backslashreplace").decode()
