"""What happens during a run, for observers that show it; no event contains a token, a code or a secret."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Way = Literal["browser", "printed", "practice user"]
"""How a person reaches a page: their browser opens it, they open it, or a practice user approves instead."""


class Event:
    """Something that happened during a run."""


@dataclass(frozen=True)
class Asked(Event):
    """The question of this run."""

    question: str


@dataclass(frozen=True)
class ModelAnnounced(Event):
    """The model that answers in this run."""

    name: str


@dataclass(frozen=True)
class Connecting(Event):
    """A session with an MCP server begins."""

    target: str


@dataclass(frozen=True)
class Connected(Event):
    """The session is open; `protocol` is the negotiated protocol version."""

    target: str
    server: str
    protocol: str


@dataclass(frozen=True)
class LoginRequired(Event):
    """The server answered 401 or 403 with a challenge (RFC 9728 section 5.1)."""

    url: str
    status: int


@dataclass(frozen=True)
class ResourceDiscovered(Event):
    """The protected-resource metadata named the authorization server (RFC 9728)."""

    resource: str
    issuer: str


@dataclass(frozen=True)
class ServerDiscovered(Event):
    """The authorization server's metadata was read (RFC 8414)."""

    issuer: str


@dataclass(frozen=True)
class ClientRegistered(Event):
    """The authorization server issued a client identifier (RFC 7591)."""

    client_id: str


@dataclass(frozen=True)
class ClientForgotten(Event):
    """The authorization server no longer knows the client identifier that it issued."""

    issuer: str


@dataclass(frozen=True)
class ApprovalNeeded(Event):
    """A person must approve at `url`; `way` is how they get there."""

    url: str
    way: Way
    user: str = ""
    seconds: float | None = None
    """How long the agent waits."""


@dataclass(frozen=True)
class Approved(Event):
    """The authorization code came back to the listener."""


@dataclass(frozen=True)
class TokenReceived(Event):
    """The code was exchanged for an access token; `seconds` is its lifetime, None if unknown."""

    scope: str
    seconds: int | None


@dataclass(frozen=True)
class TokenRefreshed(Event):
    """A refresh token replaced the access token, without a person."""

    seconds: int | None


@dataclass(frozen=True)
class LoginReused(Event):
    """A stored login is used; no browser is needed."""

    issuer: str


@dataclass(frozen=True)
class ToolsFound(Event):
    """The tools that the model may ask for."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class ModelAsked(Event):
    """The model is asked for its turn `turn`, counted from 1."""

    turn: int


@dataclass(frozen=True)
class ModelReplied(Event):
    """The model's turn: how many tools it asks for; 0 is an answer."""

    turn: int
    calls: int


@dataclass(frozen=True)
class ToolCalled(Event):
    """A tool call begins."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class ToolReturned(Event):
    """A tool call ended; `text` is untrusted, and may be long."""

    name: str
    text: str
    is_error: bool


@dataclass(frozen=True)
class PageRequested(Event):
    """A tool call needs the person at a page (URL elicitation); `url` is checked, the texts are untrusted."""

    server: str
    url: str
    message: str


@dataclass(frozen=True)
class PageOpened(Event):
    """The person agreed to a page on `host`, now or with an option; `way` is how they get there."""

    way: Way
    host: str
    user: str = ""
    seconds: float | None = None
    """How long the agent still waits."""


@dataclass(frozen=True)
class Answered(Event):
    """The model answered."""

    text: str


@dataclass(frozen=True)
class Warned(Event):
    """The person should know something that does not stop the run."""

    text: str


Observer = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Do nothing with an event."""
