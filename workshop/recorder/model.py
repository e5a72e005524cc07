"""A trace as it is written to a file: the project's own format, with a version and without secrets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

FORMAT: Final = "workshop-trace"
VERSION: Final = 1

Relation = Literal["equals", "covers", "contains", "differs from"]
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Party:
    """A sender or receiver of requests: a lane of the diagram."""

    id: str
    name: str
    role: str
    origin: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two values, the relation that they must have, whether it holds, and the specification."""

    left_name: str
    left: str
    relation: Relation
    right_name: str
    right: str
    holds: bool
    reference: str


@dataclass(frozen=True)
class Claims:
    """The readable parts of a JWT; its signature is not shown."""

    label: str
    header: Mapping[str, Any]
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class Message:
    """The header fields and the body of a request or response, masked."""

    headers: Pairs = ()
    body: str = ""
    media_type: str = ""
    size: int = 0


@dataclass(frozen=True)
class Step:
    """One request, explained. Times are seconds, `at` since the beginning; `inside` is the request around it.

    `seen_by` is who recorded it (`request.Source`), `wait` the time to the response's first byte, `before`
    the notes that precede it.
    """

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
    """How the run ended, and the error as it was shown."""

    status: Literal["done", "failed", "interrupted"] = "done"
    what: str = ""
    why: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Trace:
    """A whole recording; `closing` are the notes after the last request, `unseen` what was not recorded."""

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
        """The party with this id; one that is not listed has its id as its name."""
        return next((party for party in self.parties if party.id == name), Party(name, name, ""))

    @property
    def comparisons(self) -> list[tuple[Step, Comparison]]:
        """Every comparison, with its request."""
        return [(step, comparison) for step in self.steps for comparison in step.comparisons]


PROXIES = ("Proxy", "Gateway")
"""The names of servers that pass on what they are asked to another server."""


@dataclass(frozen=True)
class Subject:
    """What HTTP does not show of a recording: its title, its servers, and further secrets to mask."""

    title: str
    upstream_url: str = ""
    upstream_name: str = "GitHub"
    server_name: str = PROXIES[0]
    secrets: tuple[str, ...] = field(default=(), repr=False)
