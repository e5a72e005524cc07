"""What was observed of one system in this run, and the cells of the comparison that are derived from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from workshop.audit.compare.client import Answered, Authorization, Provider, Reply
from workshop.audit.probe.model import Evidence as Probed
from workshop.audit.probe.report import Report
from workshop.servers.practice.client import RecordedRequest

T = TypeVar("T")


class NotObservedError(Exception):
    """What a row would have to be told from was not seen, and this is why."""


@dataclass(frozen=True)
class Unobserved:
    """In place of what a probe should have brought: why it brought nothing."""

    why: str


def seen(found: T | Unobserved) -> T:
    """What a probe brought; raises NotObservedError with the reason where it brought nothing."""
    if isinstance(found, Unobserved):
        raise NotObservedError(found.why)
    return found


@dataclass(frozen=True)
class ProbeResult:
    """What `workshop probe` saw, and what it finds wrong."""

    probed: Probed
    report: Report


@dataclass(frozen=True)
class Moment:
    """An event of the agent's run, by its name, and when it was, in seconds since the epoch."""

    at: float
    name: str


@dataclass(frozen=True)
class Asked:
    """One run of the part's agent: what it answered, or why not, and what happened on the way."""

    answer: str
    failure: str = ""
    moments: Sequence[Moment] = ()
    tools: tuple[str, ...] = ()
    token: str = field(default="", repr=False)
    """The access token that the agent has for this server now."""

    def first(self, name: str) -> float | None:
        """When an event of this name came first; None when it never came."""
        return next((moment.at for moment in self.moments if moment.name == name), None)

    def lacks(self, facts: Sequence[str]) -> list[str]:
        """The facts that the answer does not name."""
        return [fact for fact in facts if fact not in self.answer]


@dataclass(frozen=True)
class Sent:
    """What the agent adds to its requests: the SHA-256 of each value by header; and a run without any."""

    headers: Mapping[str, str]
    bare: Asked | Unobserved | None = None


@dataclass(frozen=True)
class GitHubRecord:
    """What the practice GitHub recorded: in the agent's first run, after the restart, and in all."""

    first: Sequence[RecordedRequest]
    after: Sequence[RecordedRequest]
    carried: Sequence[str]
    """The paths of requests that had a token of the client's in them, wherever."""
    total: int = 0
    tokens: int = 0
    """How many requests there were, and how many tokens of the client's were looked for in them."""


@dataclass(frozen=True)
class Searched:
    """The files of the room: how many were searched, and in which a credential stands as it is."""

    files: int
    upstream: Sequence[str]
    client: Sequence[str]
    credential: str = field(default="", repr=False)
    """The upstream credential itself, where it was found."""


@dataclass(frozen=True)
class Session:
    """An ordinary login by a client of our own, from registration to the first request with the token."""

    provider: Provider
    authorization: Authorization
    answered: Answered
    first_use: Reply


@dataclass(frozen=True)
class Registered:
    """What became of registrations: one in order, and hostile ones by their redirect URI."""

    good: Reply
    hostile: Mapping[str, Reply]


@dataclass(frozen=True)
class WithoutProof:
    """A login without a challenge, and a code redeemed with another verifier than it was asked for with."""

    authorization: Authorization
    wrong: Answered


@dataclass(frozen=True)
class ForAnother:
    """A login for a resource that is not this server, and what the token for it is worth here, if it came."""

    authorization: Authorization
    answered: Answered | None = None
    first_use: Reply | None = None


@dataclass(frozen=True)
class Presented:
    """Tokens shown to this server that are not for it, by what they are; `control` is one that is."""

    foreign: Mapping[str, Reply]
    claims: Mapping[str, object]
    control: Reply | None = None
    readdressed: Reply | None = None


@dataclass(frozen=True)
class Refreshed:
    """The refresh token exchanged, and the new access token used."""

    given: bool
    answered: Answered | None = None
    rotated: bool = False
    first_use: Reply | None = None


@dataclass(frozen=True)
class Names:
    """The tools that the client sees, and those of each server behind, by the server's name."""

    offered: tuple[str, ...]
    behind: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Cleaned:
    """What was left when the system was taken away: here, and at the practice GitHub."""

    steps: Sequence[str]
    signed_out: str
    token_after: Reply | None
    login_left: bool
    approvals: int | None
    revoked: Sequence[str]
    credential_after: int | None
    processes: Sequence[int]
    ports: Sequence[int]
    directory: bool


@dataclass(frozen=True)
class Evidence:
    """Everything that was seen of one system."""

    name: str
    url: str
    workloads: Mapping[str, str]
    facts: Sequence[str]
    server: str = ""
    """The program among `workloads` that the agent talks to."""
    github: str | None = None
    """The practice GitHub among them; None where there is none behind the system."""
    probe_result: ProbeResult | Unobserved = Unobserved("it was not probed")
    asked: Asked | Unobserved = Unobserved("the agent was not run")
    again: Asked | Unobserved = Unobserved("the server was not restarted")
    sent: Sent = Sent({})
    github_record: GitHubRecord | Unobserved = Unobserved("the practice GitHub was not asked")
    searched: Searched | Unobserved = Unobserved("the files were not searched")
    registered: Registered | Unobserved = Unobserved("no client was registered")
    session: Session | Unobserved = Unobserved("no login was made")
    without_proof: WithoutProof | Unobserved = Unobserved("no login was made")
    for_another: ForAnother | Unobserved = Unobserved("no login was made")
    presented: Presented | Unobserved = Unobserved("no token was shown")
    neighbours: Mapping[str, Reply] = field(default_factory=dict)
    """What the server said to tokens of other systems in this run."""
    refreshed: Refreshed | Unobserved = Unobserved("no login was made")
    names: Names | Unobserved = Unobserved("no tool was listed")
    cleaned: Cleaned | Unobserved = Unobserved("it was not taken away")


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
        except NotObservedError as error:
            return Cell("not seen", f"Not seen: {error}", "unseen")


def good(value: str, seen: str) -> Cell:
    return Cell(value, seen, "good")


def bad(value: str, seen: str) -> Cell:
    return Cell(value, seen, "bad")
