"""Send the probe's requests: few, to one host, bounded in time and size, without redirects or credentials."""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, ClassVar, Self

from workshop.audit.probe.model import Answer, Target, host_of
from workshop.core.errors import DeadlineError, PreflightError, UsageError, WorkshopError

if TYPE_CHECKING:
    import httpx2

MOST_REQUESTS = 20  # of a server that may be somebody else's
_CONNECT_SECONDS = 5.0
ALL_SECONDS = 60.0
_MOST_BYTES = 128 * 1024


class Exchange:
    """Sends at most `MOST_REQUESTS` requests to allowed hosts; use it as an async context manager."""

    answer_seconds: ClassVar[float] = 10.0
    """How long the server may take for one answer."""

    def __init__(self, target: Target, sending: Callable[[str], None], seconds: float = ALL_SECONDS) -> None:
        """`sending` gets the method and path of each request; none is sent after `seconds`."""
        self._target = target
        self._seconds = seconds
        self._sending = sending
        self._hosts = {target.host}
        self._stack = AsyncExitStack()
        self._end = 0.0
        self.requests: list[str] = []

    async def __aenter__(self) -> Self:
        import httpx2

        from workshop.core.http_client import open_client

        client = open_client(
            timeout=httpx2.Timeout(self.answer_seconds, connect=_CONNECT_SECONDS),
            headers={"user-agent": "workshop-probe", "accept-encoding": "identity"},
        )
        self._client = await self._stack.enter_async_context(client)
        self._end = asyncio.get_running_loop().time() + self._seconds
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def allow(self, host: str) -> None:
        """Allow requests to this host as well."""
        self._hosts.add(host)

    def may_ask(self, url: object) -> bool:
        """Whether the URL is on an allowed host."""
        host = host_of(url)
        return bool(host) and host in self._hosts

    async def first(self, method: str, url: str, **content: Any) -> Answer:  # noqa: ANN401 - as httpx2
        """The answer to the first request, without which the probe ends.

        Raises PreflightError, DeadlineError or WorkshopError without one, UsageError for a bad host name.
        """
        import httpx2

        try:
            return await self._send(method, url, **content)
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise DeadlineError(
                f"{self._target.url} does not answer", why=f"Waited {self.answer_seconds:g} seconds"
            ) from error
        except httpx2.InvalidURL as error:
            raise UsageError(f"{self._target.url!r} is not an http or https URL", why=str(error)) from error
        except httpx2.HTTPError as error:
            raise _unreachable(self._target, error) from error

    async def send(self, method: str, url: str, **content: Any) -> Answer | None:  # noqa: ANN401 - as httpx2
        """The answer; None if there was none, or if the request is not allowed."""
        import httpx2

        from workshop.core.http_client import UnusableAnswerError

        late = asyncio.get_running_loop().time() >= self._end
        if late or len(self.requests) >= MOST_REQUESTS or not self.may_ask(url):
            return None
        try:
            return await self._send(method, url, **content)
        except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL, UnusableAnswerError):
            return None

    async def _send(self, method: str, url: str, **content: Any) -> Answer:  # noqa: ANN401 - as httpx2
        request = self._client.build_request(method, url, **content)
        # Without the query, which contains a token in one of the requests.
        self.requests.append(f"{method} {str(request.url).partition('?')[0]}")
        self._sending(f"{method} {request.url.path}")
        self._client.cookies.clear()  # no request may depend on the one before
        # The client's own timeout begins anew with each byte, so a slow server could hold it for ever.
        async with asyncio.timeout(self.answer_seconds):
            return await receive(self._client, request)


async def receive(client: "httpx2.AsyncClient", request: "httpx2.Request") -> Answer:
    """Send one request without following redirects, and read the beginning of the answer.

    The body is read as it was sent: the client has to ask for `accept-encoding: identity`, so that a
    compressed body cannot unpack to any size.
    """
    response = await client.send(request, stream=True, follow_redirects=False)
    try:
        body = await _read(response)
    finally:
        await response.aclose()
    name, headers = f"{request.method} {request.url.path}", tuple(response.headers.multi_items())
    return Answer(name, str(request.url), response.status_code, headers, body.decode("utf-8", "replace"))


async def _read(response: "httpx2.Response") -> bytes:
    """The beginning of the body: of an event stream its first message, of one that GET opened nothing."""
    stream = response.headers.get("content-type", "").startswith("text/event-stream")
    # The stream that GET opens may stay silent and never end.
    if stream and response.request.method == "GET":
        return b""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) >= _MOST_BYTES or (stream and _has_message(bytes(body))):
            break
    return bytes(body[:_MOST_BYTES])


def _has_message(body: bytes) -> bool:
    events = body.replace(b"\r\n", b"\n").split(b"\n\n")[:-1]
    return any(
        line.startswith(b"data:") and len(line) > len(b"data: ") for e in events for line in e.split(b"\n")
    )


def _unreachable(target: Target, error: Exception) -> WorkshopError:
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return WorkshopError(
            f"No secure connection to {target.host}",
            why=str(error),
            hint="Its certificate must be valid on this machine; plain http does not protect a token",
        )
    hint = "`workshop status` shows what runs" if target.loopback else "Check the address and your network"
    family = PreflightError if target.loopback else WorkshopError
    return family(f"{target.origin} cannot be reached", why=str(error), hint=hint)
