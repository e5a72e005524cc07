"""The probe from end to end: send the requests, run the checks, report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workshop.audit.probe.checks import CHECKS
from workshop.audit.probe.exchange import ALL_SECONDS, Exchange
from workshop.audit.probe.model import Evidence, Found, Passed, Severity, Target, Unknown
from workshop.audit.probe.requests import collect, collect_signed
from workshop.core.interrupts import interrupts

if TYPE_CHECKING:
    from workshop.audit.sign_in import SignedIn, Signing

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
    signing: "Signing | None" = None,
) -> Report:
    """Probe the MCP server at `url` with at most 20 requests; `sending` is called with each.

    After `seconds` no further request is sent. With `signing`, the agent logs in if the server requires a
    token, and at most 20 requests with that token follow.

    Raises UsageError for an invalid URL, and WorkshopError, PreflightError or DeadlineError when no MCP
    server answers there or the login fails.
    """
    found = examine(Target.parse(url), follow=follow, sending=sending, seconds=seconds, signing=signing)
    return interrupts.run(found).report


@dataclass(frozen=True)
class Examined:
    """The answers of one server, the report on them, and the login if one was made."""

    evidence: Evidence
    report: Report
    signed_in: "SignedIn | None" = None


async def examine(
    target: Target,
    *,
    follow: bool,
    sending: Callable[[str], None] = lambda _: None,
    seconds: float = ALL_SECONDS,
    signing: "Signing | None" = None,
) -> Examined:
    """As `probe`, with everything that the report is made from."""
    if signing is not None:
        signing.check(target.url)  # before the first request: this server must never get a token
    async with Exchange(target, sending, seconds) as exchange:
        evidence = await collect(target, exchange, follow=follow)
    if signing is None:
        return Examined(evidence, judge(evidence, exchange.requests))
    if not evidence.guarded:
        skipped = (*evidence.not_looked_at, "What needs a login: the server requires no token")
        evidence = replace(evidence, not_looked_at=skipped)
        return Examined(evidence, judge(evidence, exchange.requests))
    sending("a login")
    signed_in = await signing.at(target.url, evidence.target.url)
    async with Exchange(evidence.target, sending, seconds) as with_token:
        evidence = replace(evidence, signed=await collect_signed(evidence.target, signed_in, with_token))
    return Examined(evidence, judge(evidence, [*exchange.requests, *with_token.requests]), signed_in)


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
