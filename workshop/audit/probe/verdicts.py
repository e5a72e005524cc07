"""The verdict of one check, and what a finding consists of."""

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
    """The check found a problem."""

    severity: Severity
    seen: str


@dataclass(frozen=True)
class Passed:
    """The check passed."""

    seen: str


@dataclass(frozen=True)
class Unknown:
    """It cannot be decided from outside, without a login."""

    why: str


Verdict = Found | Passed | Unknown | None
"""None: the check does not apply to this server."""


@dataclass(frozen=True)
class Check:
    """One check of the evidence; `meaning` and `mend` explain a failure to the server's operator."""

    id: str
    title: str
    meaning: str
    mend: str
    judge: Callable[[Evidence], Verdict]
