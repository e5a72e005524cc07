"""The relay: it sends each MCP request on, and streams the answer back as it arrives.

Bytes pass unchanged (unless a tool filter is set) and `mcp-*` headers too, so that both protocol eras work:
sessions with their GET stream and DELETE (2025-11-25), and self-contained POSTs (2026-07-28). The client's
path and query are not passed on: the remote URL is the configured one (ToolHive, transparent_proxy.go).
"""

import asyncio
import logging
from codecs import BOM_UTF8
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from enum import Enum, auto
from typing import Any, NamedTuple

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from workshop.auth import ClientGoneError, Outbound, RefusedError, private_json
from workshop.auth.http import parse_query, refused
from workshop.auth.json_rpc import read_message, relayed_body, too_large
from workshop.auth.limits import RELAY_BYTES
from workshop.auth.outbound import Remote, RemoteAnswer, broken
from workshop.servers.gateway.config import GatewayConfig
from workshop.servers.gateway.gate import Admission, Answer, Gate, upstream_failure
from workshop.servers.gateway.tool_filter import RawHeaders, ToolFilter, withheld

# Most calls are answered sooner: one timer is all that they need, and no task that watches their client.
_UNWATCHED_SECONDS = 0.05


class AdmissionLostError(Exception):
    """The sign-in ended while its answer was still being sent."""


class _Ending(Enum):
    LEFT = auto()
    SLOW = auto()
    REVOKED = auto()


class Watch:
    """Runs the relay's work, and cancels it for one of three reasons.

    The client disconnects, which is how MCP 2026-07-28 cancels a request; no answer begins within
    `head_seconds` of `asked`; or, from `answering` on, `admitted` is False, which is looked at `every` so
    many seconds: an open stream ends at most that long after its revocation.
    """

    def __init__(
        self, receive: Receive, admitted: Callable[[], bool], *, head_seconds: float, every: float
    ) -> None:
        self._receive = receive
        self._admitted = admitted
        self._head_seconds = head_seconds
        self._every = every
        self._loop = asyncio.get_running_loop()
        self._due: float | None = None
        """When to look next; the time of the event loop."""
        self._is_answering = False
        self._ending: _Ending | None = None
        self._watching: asyncio.Task[None] | None = None

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Raises TimeoutError for no answer, and AdmissionLostError; returns if the client disconnects."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("there is no task to cancel")
        self._task, cancelled_before = task, task.cancelling()
        self._timer: asyncio.Handle = self._loop.call_later(_UNWATCHED_SECONDS, self._begin)
        cancelled_here = False
        try:
            await work
        except asyncio.CancelledError:
            # As `asyncio.Timeout` does: a cancellation by another task continues.
            cancelled_here = self._ending is not None and task.cancelling() - 1 <= cancelled_before
            if not cancelled_here:
                raise
        finally:
            self._timer.cancel()
            if self._watching is not None:
                self._watching.cancel()
            if self._ending is not None:
                task.uncancel()
        if cancelled_here and self._ending is _Ending.SLOW:
            raise TimeoutError
        if cancelled_here and self._ending is _Ending.REVOKED:
            raise AdmissionLostError

    def asked(self) -> None:
        """The upstream has the request, from now on."""
        self._due = self._loop.time() + self._head_seconds
        self._set_timer()

    def answering(self) -> None:
        """The upstream's answer has begun."""
        self._is_answering = True
        self._due = self._loop.time() + self._every
        self._set_timer()

    def _begin(self) -> None:
        self._watching = asyncio.create_task(self._wait())
        self._set_timer()

    def _set_timer(self) -> None:
        if self._watching is not None and self._due is not None:
            self._timer.cancel()
            self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        if not self._is_answering:
            self._end(_Ending.SLOW)
        elif self._admitted():
            self.answering()
        else:
            self._end(_Ending.REVOKED)

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._end(_Ending.LEFT)

    def _end(self, why: _Ending) -> None:
        if self._ending is None:
            self._ending = why
            self._task.cancel()


_REQUEST = frozenset(
    {b"accept", b"content-type", b"last-event-id", b"traceparent", b"tracestate", b"user-agent"}
)
_REQUEST_PREFIX = b"mcp-"
_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te"}
    | {b"trailer", b"trailers", b"transfer-encoding", b"upgrade"}
)
# Cookies and challenges would be those of our origin, CORS would open it to web pages, and Location would
# lead a client with our token elsewhere; our own server writes server and date.
_OF_ITS_ORIGIN = frozenset(
    {b"set-cookie", b"set-cookie2", b"www-authenticate", b"authentication-info", b"server", b"date", b"via"}
    | {b"alt-svc", b"location", b"refresh", b"strict-transport-security", b"clear-site-data", b"x-powered-by"}
    | {b"report-to", b"nel", b"service-worker-allowed", b"x-content-type-options"}
)
_DROPPED = _HOP_BY_HOP | _OF_ITS_ORIGIN
_CORS_PREFIX = b"access-control-"


def to_upstream(headers: Iterable[tuple[bytes, bytes]], *added: Mapping[str, str]) -> RawHeaders:
    """The allowed request headers, then the added ones, which replace them; of two, the later one is used."""
    new = {"accept-encoding": "identity"}
    for group in added:
        new |= {name.lower(): value for name, value in group.items()}
    kept = [
        (name, value if value.isascii() else value.decode("utf-8", "replace").encode())
        for name, value in headers
        if (name in _REQUEST or name.startswith(_REQUEST_PREFIX)) and name.decode("ascii") not in new
    ]
    return kept + [(name.encode("ascii"), value.encode()) for name, value in new.items()]


def to_client(
    headers: Iterable[tuple[bytes, bytes]], *, without: frozenset[bytes] = frozenset()
) -> RawHeaders:
    """The response headers without hop-by-hop ones (also those in `Connection`) and its origin's own."""
    pairs = [(name.lower(), value) for name, value in headers]
    named = {
        token.strip().lower() for name, value in pairs if name == b"connection" for token in value.split(b",")
    }
    dropped = _DROPPED | named | without if named or without else _DROPPED
    kept = [
        (name, value) for name, value in pairs if name not in dropped and not name.startswith(_CORS_PREFIX)
    ]
    return [*kept, (b"x-content-type-options", b"nosniff")]


_LOG = logging.getLogger(__name__)
_STATUSES = range(200, 600)  # a 101 would be another protocol, and RFC 9110 section 15 has no others
_METHODS = ("GET", "POST", "DELETE")
_WITHOUT_SESSIONS = "2026-07-28"  # requests only: no stream to open, no session to end
_CONTROL = bytes([*range(0x09), *range(0x0A, 0x20), 0x7F])  # RFC 9110 section 5.5
_ONE_OF_EACH = (b"mcp-session-id", b"mcp-protocol-version", b"mcp-method", b"mcp-name", b"content-type")


class _Call(NamedTuple):
    method: str
    headers: RawHeaders
    body: bytes = b""
    id: object = None


class Relay:
    """Streams between MCP clients and the remote server; `gate` decides who is admitted, with which token."""

    def __init__(self, config: GatewayConfig, outbound: Outbound, gate: Gate) -> None:
        self._remote = Remote(config.remote_url, outbound)
        self._added = config.headers
        self._outbound = outbound
        self._gate = gate
        self._tools = ToolFilter(config.tools) if config.tools else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            await self._relay(scope, receive, send)
        except RefusedError as refusal:
            await refusal.response(scope, receive, send)
        except ClientGoneError:
            return

    async def _relay(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, patience = Headers(scope=scope), self._outbound.patience
        # Nobody makes the gateway read a body, or ask the upstream, before the token is known to be valid.
        _check_shape(scope["method"], headers)
        admission = await self._gate.admit(headers, parse_query(scope["query_string"]))
        call, waited = _Call(scope["method"], headers.raw), False
        if call.method == "POST":
            body, waited = await self._body(receive, headers)
            call = self._posted(call.headers, body)
        watch = Watch(receive, admission.admitted, head_seconds=patience.headers, every=patience.revocation)
        try:
            await watch.run(self._exchange(call, admission, send, watch, waited=waited))
        except TimeoutError as error:
            raise upstream_failure(slow=True) from error
        except AdmissionLostError:
            _LOG.warning("an open answer was cut: its sign-in has ended")

    async def _body(self, receive: Receive, headers: Headers) -> tuple[bytes, bool]:
        """The body, and whether it had to be waited for."""
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > RELAY_BYTES:
            raise too_large()
        return await relayed_body(receive, self._outbound.patience.body)

    def _posted(self, headers: RawHeaders, body: bytes) -> _Call:
        message, body = read_message(body), body.removeprefix(BOM_UTF8)
        if self._tools is None:
            return _Call("POST", headers, body)
        asked = self._tools.request(message, body, headers)
        return _Call("POST", asked.headers, asked.body, asked.id)

    async def _exchange(
        self, call: _Call, admission: Admission, send: Send, watch: Watch, *, waited: bool
    ) -> None:
        headers = to_upstream(call.headers, await admission.credentials(waited=waited), self._added)
        watch.asked()
        try:
            response = await self._remote.ask(call.method, headers, call.body)
        except TimeoutError as error:
            raise upstream_failure(slow=True) from error
        except broken() as error:
            raise upstream_failure(slow=False) from error
        watch.answering()
        with response:
            if response.status not in _STATUSES:
                raise upstream_failure(
                    slow=False, description="The remote server answered with no status of HTTP"
                )
            admission.answered(Answer(call.method, response.status, response.headers.get("mcp-session-id")))
            await self._answer(response, call.id, send)

    async def _answer(self, response: RemoteAnswer, id_: object, send: Send) -> None:
        if "location" in response.headers or response.status in range(300, 400):
            raise upstream_failure(slow=False, description="The remote server answered with a redirect")
        headers, chunks = await self._content(response, id_)
        has_length = response.headers.get("content-length", "0") != "0"
        first = await _first(chunks) if has_length else b""
        try:
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            chunk: bytes | None = first
            while not self._is_complete(response):
                if chunk:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                if (chunk := await anext(chunks, None)) is None:
                    break
                # A turn later the end of the stream has mostly arrived too, and both leave in one write.
                await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": chunk or b""})
        except broken() as error:
            # The answer has begun: if it is left unfinished, our server closes the connection, so that the
            # client does not mistake half an answer for a whole one.
            _LOG.warning("the remote server's answer broke off: %s", type(error).__name__)

    def _is_complete(self, response: RemoteAnswer) -> bool:
        """Whether all of an answer has been read; a tool filter may still hold some of it."""
        return self._tools is None and response.content.at_eof()

    async def _content(self, response: RemoteAnswer, id_: object) -> tuple[RawHeaders, AsyncIterator[bytes]]:
        chunks = response.content.iter_any()
        if self._tools is None:
            if not _is_identity(response):
                # It was not asked for, and the client that gets it may unpack a gigabyte.
                raise upstream_failure(slow=False, description="The remote server's answer is compressed")
            return to_client(response.raw_headers), chunks
        if not _readable(response):
            raise withheld(id_)
        headers = to_client(response.raw_headers, without=frozenset({b"content-length"}))
        if (
            response.media_type[0] == "text/event-stream"
            and len(response.headers.getall("content-type")) == 1
        ):
            return headers, self._tools.events(chunks, id_)
        try:
            # Complete before its head is sent: the client gets an error instead of an unreadable list.
            return headers, _once(await self._tools.whole(chunks, id_))
        except broken() as error:
            raise upstream_failure(slow=False) from error


async def _first(chunks: AsyncIterator[bytes]) -> bytes:
    # The head of an answer whose length is known waits for its body: both then leave in one write.
    try:
        return await anext(chunks, b"")
    except broken() as error:
        raise upstream_failure(slow=False) from error


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _readable(response: RemoteAnswer) -> bool:
    """Whether the bytes of an answer are its text, in UTF-8."""
    return _is_identity(response) and response.media_type[1] in ("utf-8", "us-ascii")


def _is_identity(response: RemoteAnswer) -> bool:
    codings = response.headers.getall("content-encoding", ["identity"])
    return all(coding.strip().lower() == "identity" for coding in codings)


def _check_shape(method: str, headers: Headers) -> None:
    if method not in _METHODS:
        allow = {"allow": ", ".join(_METHODS)}
        raise RefusedError(private_json({"error": "method_not_allowed"}, status=405, headers=allow))
    if method != "POST" and headers.get("mcp-protocol-version") == _WITHOUT_SESSIONS:
        allow = {"allow": "POST"}
        raise RefusedError(private_json({"error": "method_not_allowed"}, status=405, headers=allow))
    if method != "POST" and ("transfer-encoding" in headers or headers.get("content-length", "0") != "0"):
        raise refused(400, "invalid_request", "Only a POST has a body")
    names = [name for name, _ in headers.raw]
    if len(set(names)) < len(names) and any(names.count(name) > 1 for name in _ONE_OF_EACH):
        # The gateway and the upstream might each use another one.
        raise refused(400, "invalid_request", "A header is repeated")
    values = b"".join([value for _, value in headers.raw])
    if len(values.translate(None, _CONTROL)) < len(values):
        raise refused(400, "invalid_request", "A header has a control character in it")
