"""Requests as recorded, with their secrets, and the trace that is made of them, without.

A `Request` is never written to disk and never shown. A `Trace` is: it is the project's own file format.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

MOST_BODY = 512 * 1024

Source = Literal["agent", "listener", "memory", "upstream", "built"]
"""Who recorded it: the agent's HTTP client, listener or cache, or the upstream; "built": not sent yet."""


@dataclass
class Request:
    """One HTTP request and its response; times are seconds since the recording began."""

    sender: str
    method: str
    url: str
    at: float
    seen_by: Source = "agent"
    request_headers: list[tuple[str, str]] = field(default_factory=list)
    request_body: bytes = b""
    status: int | None = None
    reason: str = ""
    http_version: str = "HTTP/1.1"
    response_headers: list[tuple[str, str]] = field(default_factory=list)
    answered: float | None = None
    ended: float | None = None
    body: bytearray = field(default_factory=bytearray, repr=False)
    size: int = 0
    credential: tuple[str, str] | None = None
    """Kind and SHA-256 of the credential, from an upstream's record, which has only these."""

    def take(self, chunk: bytes) -> None:
        """Append a chunk of the body, up to the limit."""
        self.size += len(chunk)
        self.body += chunk[: MOST_BODY - len(self.body)]

    def header(self, name: str) -> str:
        """A response header's value, or an empty string."""
        return next((value for key, value in self.response_headers if key.lower() == name), "")

    def sent(self, name: str) -> str:
        """A request header's value, or an empty string."""
        return next((value for key, value in self.request_headers if key.lower() == name), "")


@dataclass(frozen=True)
class Upstream:
    """The server behind the gateway; `requests_since(moment)` returns what it recorded since then."""

    name: str = "GitHub"
    url: str = ""
    requests_since: Callable[[datetime], Sequence[Request]] = lambda _since: ()


UNKNOWN = Upstream()
"""A GitHub that has no record to read."""

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

    `seen_by` is who recorded it (`Source`), `wait` the time to the response's first byte, `before`
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
