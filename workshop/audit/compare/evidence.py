"""What was observed of one system in this run, and the cells that are derived from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import httpx2

from workshop.audit.probe.model import Answer
from workshop.audit.probe.report import Examined
from workshop.core.errors import WorkshopError
from workshop.servers.practice.client import RecordedRequest

T = TypeVar("T")
CREATED = (200, 201)  # RFC 7591 requires 201; some servers answer 200
_FAILED = 500


class NotObservedError(Exception):
    """What a row needs was not observed, for this reason."""


@dataclass(frozen=True)
class Unobserved:
    """The reason why a probe has no result."""

    why: str


def observed(found: T | Unobserved) -> T:
    """The result of a probe; raises NotObservedError with the reason if it failed."""
    if isinstance(found, Unobserved):
        raise NotObservedError(found.why)
    return found


def is_let_in(answer: Answer) -> bool:
    """Whether the server carried the request out, instead of refusing the caller."""
    return answer.status < httpx2.codes.BAD_REQUEST


def is_refusal(status: int) -> bool:
    """Whether a status is a decision against the request; a failure or an overload (429) is not."""
    return httpx2.codes.BAD_REQUEST <= status < _FAILED and status != httpx2.codes.TOO_MANY_REQUESTS


@dataclass(frozen=True)
class Page:
    """A page on the way: its origin and path, its buttons' names, and whether it names the client."""

    origin: str
    path: str
    buttons: tuple[str, ...]
    names_client: bool


@dataclass(frozen=True)
class Authorization:
    """A browser's way through a login: the pages in order, then the callback's query, or a reason."""

    pages: tuple[Page, ...] | None = ()
    """None if they were shown to a person."""
    callback: Mapping[str, str] | None = None
    refusal: str = ""
    status: int = 0
    """Of the page where the login ended; 0 if the browser was redirected to the client."""

    @property
    def code(self) -> str:
        """The authorization code; empty without one."""
        return (self.callback or {}).get("code", "")

    @property
    def refused(self) -> str:
        """Why there is no code, in a few words; empty if there is one."""
        if self.code:
            return ""
        return (self.callback or {}).get("error", "") or self.refusal or "no code was returned"

    @property
    def is_answer(self) -> bool:
        """Whether the server decided; a failure does not show what it allows."""
        return not self.status or is_refusal(self.status)


@dataclass(frozen=True)
class Provider:
    """An authorization server, as described by its own metadata and the resource's."""

    metadata: Mapping[str, Any]
    resource: str
    scopes: tuple[str, ...] = ()

    @property
    def issuer(self) -> str:
        return str(self.metadata.get("issuer", ""))

    def endpoint(self, name: str) -> str:
        """An endpoint's URL; raises WorkshopError if the metadata does not have it."""
        url = self.metadata.get(f"{name}_endpoint")
        if not isinstance(url, str):
            raise WorkshopError(f"the metadata does not name a {name} endpoint")
        return url

    @classmethod
    def described(cls, metadata: Mapping[str, Any], resource: str, scopes: Sequence[str] = ()) -> "Provider":
        """With the scopes that the resource requests, and `offline_access` if the server supports it."""
        supported = metadata.get("scopes_supported", ())
        # Without this scope, some servers issue no refresh token; ToolHive is one.
        wanted = [*scopes, *(["offline_access"] if "offline_access" in supported else [])]
        return cls(metadata, resource, tuple(dict.fromkeys(wanted)))


@dataclass(frozen=True)
class TokenAnswer:
    """The token endpoint's answer, and the tokens in it."""

    answer: Answer

    @property
    def access_token(self) -> str:
        """The token; empty if there is none. RFC 6749 section 5.1: only with 200."""
        return self._token("access_token")

    @property
    def refresh_token(self) -> str:
        return self._token("refresh_token")

    def _token(self, name: str) -> str:
        value = self.answer.document.get(name) if self.answer.status in CREATED else None
        return value if isinstance(value, str) else ""


@dataclass(frozen=True)
class Moment:
    """An event of the agent's run: its name, and its time in seconds since the epoch."""

    at: float
    name: str


@dataclass(frozen=True)
class Asked:
    """One run of the part's agent: its answer or why it has none, its events, and the tools it found."""

    answer: str
    failure: str = ""
    moments: Sequence[Moment] = ()
    tools: tuple[str, ...] = ()
    token: str = field(default="", repr=False)
    """The access token that the agent has for this server after the run."""

    def first(self, name: str) -> float | None:
        """The time of the first event of this name; None if there is none."""
        return next((moment.at for moment in self.moments if moment.name == name), None)

    def lacks(self, facts: Sequence[str]) -> list[str]:
        """The facts that the answer does not name."""
        return [fact for fact in facts if fact not in self.answer]


@dataclass(frozen=True)
class Sent:
    """The headers that the agent adds, with each value's SHA-256; `bare` is a run without them."""

    headers: Mapping[str, str]
    bare: Asked | Unobserved | None = None


@dataclass(frozen=True)
class GitHubRecord:
    """The practice GitHub's record: of the agent's first run, and of what came after the restart."""

    first: Sequence[RecordedRequest]
    after: Sequence[RecordedRequest]
    carried: Sequence[str]
    """The paths of requests that contained one of the client's tokens."""
    total: int = 0
    tokens: int = 0
    """The number of requests, and the number of the client's tokens that were searched for in them."""


@dataclass(frozen=True)
class Searched:
    """The system's files: how many were searched, and which contain a credential as plaintext."""

    files: int
    upstream: Sequence[str]
    client: Sequence[str]
    credential: str = field(default="", repr=False)
    """The upstream credential itself, if it was found."""


@dataclass(frozen=True)
class Session:
    """A regular login by the comparison's own client, up to the first request with the token."""

    provider: Provider
    authorization: Authorization
    answered: TokenAnswer
    first_use: Answer


@dataclass(frozen=True)
class Registered:
    """The answers to registrations: a correct one, and hostile ones by their redirect URI."""

    good: Answer
    hostile: Mapping[str, Answer]


@dataclass(frozen=True)
class WithoutProof:
    """A login without a PKCE challenge, and a code redeemed with a verifier that is not its own."""

    authorization: Authorization
    wrong: TokenAnswer


@dataclass(frozen=True)
class ForAnother:
    """A login for a resource that is not this server, and the first use of that token here."""

    authorization: Authorization
    answered: TokenAnswer | None = None
    first_use: Answer | None = None


@dataclass(frozen=True)
class Presented:
    """This server's answers to foreign tokens, by what each one is; `control` is a token for this server.

    `claims` are those of this server's own token; `readdressed` is the answer to one that differs in `aud`.
    """

    foreign: Mapping[str, Answer]
    claims: Mapping[str, object]
    control: Answer | None = None
    readdressed: Answer | None = None


@dataclass(frozen=True)
class Refreshed:
    """Whether there was a refresh token, the answer to its exchange, and the new access token's first use."""

    given: bool
    answered: TokenAnswer | None = None
    rotated: bool = False
    first_use: Answer | None = None


@dataclass(frozen=True)
class Names:
    """The tools that the client lists, and those of each server behind, by the server's name."""

    listed: tuple[str, ...]
    behind: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Cleaned:
    """What remained after the system was removed: on this machine, and at the practice GitHub."""

    steps: Sequence[str]
    signed_out: str
    token_after: Answer | None
    login_left: bool
    approvals: int | None
    revoked: Sequence[str]
    credential_after: int | None
    processes: Sequence[int]
    ports: Sequence[int]
    directory: bool


@dataclass(frozen=True)
class Evidence:
    """Everything that was observed of one system."""

    name: str
    url: str
    workloads: Mapping[str, str]
    facts: Sequence[str]
    server: str = ""
    """The program among `workloads` to which the agent connects."""
    github: str | None = None
    """The practice GitHub among `workloads`; None if the system has none."""
    probe_result: Examined | Unobserved = Unobserved("it was not probed")
    asked: Asked | Unobserved = Unobserved("the agent was not run")
    again: Asked | Unobserved = Unobserved("the server was not restarted")
    sent: Sent = Sent({})
    github_record: GitHubRecord | Unobserved = Unobserved("the practice GitHub's record was not read")
    searched: Searched | Unobserved = Unobserved("the files were not searched")
    registered: Registered | Unobserved = Unobserved("no client was registered")
    session: Session | Unobserved = Unobserved("no login was made")
    without_proof: WithoutProof | Unobserved = Unobserved("no login was made")
    for_another: ForAnother | Unobserved = Unobserved("no login was made")
    presented: Presented | Unobserved = Unobserved("no foreign token was sent")
    neighbours: Mapping[str, Answer] = field(default_factory=dict)
    """The server's answers to tokens of other systems in this run, by the system's name."""
    refreshed: Refreshed | Unobserved = Unobserved("no login was made")
    names: Names | Unobserved = Unobserved("no tools were listed")
    cleaned: Cleaned | Unobserved = Unobserved("it was not removed")


Tone = Literal["good", "bad", "plain", "unseen"]


@dataclass(frozen=True)
class Cell:
    """One system in one row: a short value, the sentence behind it, and a careful operator's judgement."""

    value: str
    seen: str
    tone: Tone = "plain"


Judge = Callable[[Evidence], Cell]


@dataclass(frozen=True)
class Row:
    """One question that is answered from the evidence of each system."""

    id: str
    label: str
    question: str
    judge: Judge

    def cell(self, evidence: Evidence) -> Cell:
        """The answer for one system; "not observed" and the reason if its probe failed."""
        try:
            return self.judge(evidence)
        except NotObservedError as error:
            return Cell("not observed", f"Not observed: {error}", "unseen")


def good(value: str, sentence: str) -> Cell:
    return Cell(value, sentence, "good")


def bad(value: str, sentence: str) -> Cell:
    return Cell(value, sentence, "bad")
