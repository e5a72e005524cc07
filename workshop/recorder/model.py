"""A trace as it is written down: our own format, versioned, without a single secret."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

FORMAT: Final = "workshop-trace"
VERSION: Final = 1

Relation = Literal["equals", "covers", "contains", "differs from"]
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Party:
    """Somebody who asks or answers: a lane of the diagram."""

    id: str
    name: str
    role: str
    origin: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two values that have to agree (or must not), whether they do, and who demands it."""

    left_name: str
    left: str
    relation: Relation
    right_name: str
    right: str
    holds: bool
    reference: str


@dataclass(frozen=True)
class Claims:
    """A JWT as anybody may read it; its signature is not shown."""

    label: str
    header: Mapping[str, Any]
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class Message:
    """A request's or an answer's header fields and what its body said, masked."""

    headers: Pairs = ()
    body: str = ""
    media_type: str = ""
    size: int = 0


@dataclass(frozen=True)
class Step:
    """One hop of the story. `inside` is the number of the hop during which it happened."""

    number: int
    at: float
    seconds: float | None
    wait: float | None
    phase: str
    kind: str
    sender: str
    receiver: str
    method: str
    url: str
    path: str
    status: int | None
    reason: str
    http_version: str
    title: str
    sentence: str
    references: tuple[str, ...]
    seen_by: str
    request: Message
    response: Message
    facts: Pairs = ()
    comparisons: tuple[Comparison, ...] = ()
    claims: Claims | None = None
    before: tuple[str, ...] = ()
    inside: int | None = None


@dataclass(frozen=True)
class Outcome:
    """How the run ended: done, failed or interrupted; and the error as it was shown."""

    status: Literal["done", "failed", "interrupted"] = "done"
    what: str = ""
    why: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Trace:
    """A whole recording."""

    title: str
    began: str
    seconds: float
    outcome: Outcome
    parties: tuple[Party, ...]
    steps: tuple[Step, ...]
    closing: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    format: Literal["workshop-trace"] = FORMAT
    version: Literal[1] = VERSION

    def party(self, name: str) -> Party:
        """The party with this id; one that is not listed is called by its id."""
        return next((party for party in self.parties if party.id == name), Party(name, name, ""))

    @property
    def comparisons(self) -> list[tuple[Step, Comparison]]:
        """Everything that was compared, with the hop where."""
        return [(step, comparison) for step in self.steps for comparison in step.comparisons]


@dataclass(frozen=True)
class Subject:
    """What was recorded, as far as HTTP does not show it: the title, the server, and its upstream."""

    title: str
    upstream_url: str = ""
    upstream_name: str = "GitHub"
    server_name: str = "Gateway"
    secrets: tuple[str, ...] = field(default=(), repr=False)
