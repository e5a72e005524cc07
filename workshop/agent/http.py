"""HTTP clients of the agent: bounded in time, and recorded by the flight recorder."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from workshop.core import http_client
from workshop.core.text import one_line
from workshop.recorder import current

CONNECT_SECONDS = 5.0
IDLE_SECONDS = 4.0
"""Servers end idle connections after 5 seconds (uvicorn, Node); a request at that moment would be lost."""

Hook = Callable[[Any], Coroutine[Any, Any, None]]


def open_client(
    timeout: float,
    *,
    auth: httpx2.Auth | None = None,
    on_request: Sequence[Hook] = (),
    on_response: Sequence[Hook] = (),
    sender: str | None = "agent",
    streams: bool = False,
) -> httpx2.AsyncClient:
    """An HTTP client that waits at most `timeout` seconds for each read.

    The flight recorder, if there is one, records its requests as from `sender`; with None it does not.
    `streams` allows event streams without an end (see `workshop.core.http_client`).
    """
    hooks: dict[str, list[Hook]] = {"request": list(on_request), "response": list(on_response)}
    recording: list[Hook] = []
    if sender and (recorder := current()):
        requested, responded = recorder.hooks(sender)
        hooks["request"].append(requested)
        recording.append(responded)
    return http_client.open_client(
        streams=streams,
        recording=recording,
        auth=auth,
        timeout=httpx2.Timeout(timeout, connect=min(CONNECT_SECONDS, timeout)),
        limits=httpx2.Limits(max_keepalive_connections=20, keepalive_expiry=IDLE_SECONDS),
        event_hooks=hooks,
    )


def headers_for(url: str, headers: Mapping[str, str]) -> Hook:
    """A request hook that adds `headers` for the endpoint at `url` only, and removes them elsewhere.

    The headers of an HTTP client would also be sent to the host of a redirect. Headers that the protocol or
    the login has set are not changed.
    """
    home = httpx2.URL(url)

    async def given(request: httpx2.Request) -> None:
        if not same_origin(request.url, home):
            for name in headers:
                request.headers.pop(name, None)
        elif request.url.path == home.path:
            for name, value in headers.items():
                request.headers.setdefault(name, value)

    return given


def status_line(response: httpx2.Response) -> str:
    """The status code of a response and its reason phrase, on one line."""
    return f"{response.status_code} {one_line(response.reason_phrase, 60)}".strip()


def same_origin(url: httpx2.URL, other: httpx2.URL) -> bool:
    """Whether both have the same scheme, host and port (RFC 6454 section 4)."""
    return (url.scheme, url.host, url.port) == (other.scheme, other.host, other.port)


RETRIED = frozenset({429, 500, 502, 503, 504, 529})  # 529 is not registered: "overloaded" at Anthropic
LONGEST_WAIT = 20.0
"""Seconds; a longer `Retry-After` is reported to the person instead."""


def wait_before(attempt: int, headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds to wait after failed attempt `attempt` (from 1); None if the server asks for too many."""
    asked = headers.get("retry-after")
    seconds = _seconds(asked, now or datetime.now(UTC)) if asked else None
    if seconds is None:
        return min(2.0 ** (attempt - 1), LONGEST_WAIT)
    return seconds if seconds <= LONGEST_WAIT else None


def _seconds(value: str, now: datetime) -> float | None:
    """The seconds of a `Retry-After` (RFC 9110 section 10.2.3); None for what is neither number nor date."""
    if (digits := value.strip()).isascii() and digits.isdecimal():
        return float(digits)
    try:
        return max(0.0, (parsedate_to_datetime(value).astimezone(UTC) - now).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
