"""One HTTP request and response as recorded, with its secrets: never written to disk, never shown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

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


def _nothing(_since: datetime) -> Sequence[Request]:
    return ()


@dataclass(frozen=True)
class Upstream:
    """The server behind the gateway; `requests_since(moment)` returns what it recorded since then."""

    name: str = "GitHub"
    url: str = ""
    requests_since: Callable[[datetime], Sequence[Request]] = _nothing


UNKNOWN = Upstream()
"""A GitHub that has no record to read."""
