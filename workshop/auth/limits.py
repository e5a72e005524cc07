"""All size and time limits, with the rate limit and the body reader that enforce them."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, cast

from starlette.types import Message, Receive

Clock = Callable[[], float]
"""Returns seconds since the epoch; tests pass their own."""

FORM_BYTES = 64 * 1024
QUERY_BYTES = 8 * 1024
RELAY_BYTES = 4 * 1024 * 1024
REWRITE_BYTES = 8 * 1024 * 1024
UPSTREAM_BYTES = 256 * 1024
DOCUMENT_BYTES = 5 * 1024  # the maximum that draft CIMD-02 recommends
JWKS_BYTES = 64 * 1024
DOCUMENT_CLIENTS = 10_000
SIGN_INS = 10_000
SESSIONS_PER_GRANT = 1_000
SESSION_SECONDS = 2 * 3600.0
SIGN_IN_SECONDS = 600.0  # as MCP's security best practices advise for a state
REPEAT_SECONDS = 20.0
"""How long a refresh token may be repeated: a client that lost our answer tries again."""
CLOCK_LEEWAY = 30.0


@dataclass(frozen=True)
class Patience:
    """How long the gateway waits, in seconds; a stream that has begun has no bound but its sign-in's end.

    `revocation` is how often an open stream asks whether its sign-in still exists.
    """

    body: float = 30.0
    connect: float = 10.0
    sign_in: float = 10.0
    document: float = 5.0
    headers: float = 120.0
    revocation: float = 5.0


class BodyTooLargeError(Exception):
    """The request body is longer than the bound."""


class SlowBodyError(Exception):
    """The request body did not arrive in time."""


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete."""


class TokenBucket:
    """`rate` a second on average, `burst` at once."""

    def __init__(self, rate: float, burst: int, clock: Clock) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left, self._counted_at = float(burst), clock()

    def take(self) -> bool:
        now = self._clock()
        # `max`, because the wall clock may be set back.
        self._left = min(self._burst, self._left + max(0.0, now - self._counted_at) * self._rate)
        self._counted_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    @property
    def wait(self) -> float:
        """Seconds until the next token."""
        return max(0.0, 1 - self._left) / self._rate


async def read_body(receive: Receive, limit: int, seconds: float) -> tuple[bytes, bool]:
    """A whole request body, and whether it had to be waited for.

    Raises BodyTooLargeError, SlowBodyError or ClientGoneError.
    """
    chunks = bytearray()
    # Most bodies arrive with their head, and each timer that is saved makes a call faster.
    message = _at_hand(receive)
    if message is not None and not _add(message, chunks, limit):
        return bytes(chunks), False
    try:
        async with asyncio.timeout(seconds):
            while _add(await receive(), chunks, limit):
                pass
    except TimeoutError as error:
        raise SlowBodyError from error
    return bytes(chunks), True


def _at_hand(receive: Receive) -> Message | None:
    """The next message if it has arrived already, as most bodies have; otherwise nothing is taken."""
    receiving = cast("Coroutine[Any, None, Message]", receive())
    try:
        receiving.send(None)
    except StopIteration as arrived:
        message: Message = arrived.value
        return message
    receiving.close()
    return None


def _add(message: Message, chunks: bytearray, limit: int) -> bool:
    """Add what a message has of the body; returns whether there is more."""
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    chunks += message.get("body", b"")
    if len(chunks) > limit:
        raise BodyTooLargeError
    return bool(message.get("more_body", False))
