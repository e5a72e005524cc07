"""One cell of the comparison: a short value, and what was seen that makes it so."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from workshop.audit.compare.evidence import Evidence, NotSeenError

Tone = Literal["good", "bad", "plain", "unseen"]


@dataclass(frozen=True)
class Cell:
    """What is told of one system in one row; `tone` is what a careful operator would think of it."""

    value: str
    seen: str
    tone: Tone = "plain"


Judge = Callable[[Evidence], Cell]


@dataclass(frozen=True)
class Row:
    """One question that is put to the evidence of every system."""

    id: str
    label: str
    question: str
    judge: Judge

    def cell(self, evidence: Evidence) -> Cell:
        """The answer for one system; "not seen" and why where its probe brought nothing."""
        try:
            return self.judge(evidence)
        except NotSeenError as error:
            return Cell("not seen", f"Not seen: {error}", "unseen")


def good(value: str, seen: str) -> Cell:
    return Cell(value, seen, "good")


def bad(value: str, seen: str) -> Cell:
    return Cell(value, seen, "bad")
