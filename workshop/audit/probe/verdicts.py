"""How one check ends, and what a finding tells."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from workshop.audit.probe.evidence import Evidence


class Severity(StrEnum):
    """How bad a finding is; high and medium make the probe fail."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"


@dataclass(frozen=True)
class Found:
    """Something is wrong."""

    severity: Severity
    seen: str


@dataclass(frozen=True)
class Passed:
    """All is as it should be."""

    seen: str


@dataclass(frozen=True)
class Unknown:
    """From outside, without a login, it cannot be told."""

    why: str


Verdict = Found | Passed | Unknown | None
"""None: the check does not apply to this server."""


@dataclass(frozen=True)
class Check:
    """One question to the evidence; `meaning` and `mend` are for the one whose server fails it."""

    id: str
    title: str
    meaning: str
    mend: str
    judge: Callable[[Evidence], Verdict]
