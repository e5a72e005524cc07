"""HTTP clients: to loopback directly, elsewhere by the proxy and TLS variables; bodies are bounded.

A proxy or a trust store of the environment is made when a request first needs it: a mistake in a variable
must not stop what talks to this machine only, and where it matters the error names the variable.

A body is cut off at a number of bytes, counted as sent and as unpacked: a megabyte of gzip can hold a
gigabyte. It is unpacked here and in small pieces, because `httpx2` joins all pieces before anyone can count.
"""

import functools
import ssl
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from typing import Any

import httpx2

from workshop.core.errors import PreflightError, WorkshopError, reason
from workshop.core.outgoing import check_variables, explaining_localhost, is_loopback

_LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
MOST_BYTES = 8 * 1024 * 1024
CODING = "gzip"
"""The `Accept-Encoding` of our clients."""
# Small pieces: the limit is checked after each, so that a bomb never fills the memory.
_PIECE = 64 * 1024
# 32: zlib tells gzip from zlib by the header (zlib manual, `inflateInit2`).
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_UNPACKED = frozenset({"gzip", "x-gzip", "deflate"})
_EVENTS = "text/event-stream"


def open_client(
    *,
    limits: httpx2.Limits | None = None,
    streams: bool = False,
    recording: Sequence[Callable[..., Any]] = (),
    **options: Any,  # noqa: ANN401 - httpx2's
) -> httpx2.AsyncClient:
    """A client for any address; `options` are those of `httpx2.AsyncClient`.

    `streams` allows event streams without an end (see `bounded_answers`). The response hooks in `recording`
    get the body as it was sent, before it is unpacked.

    A request to elsewhere raises PreflightError if a variable of proxies or TLS cannot be used.
    """
    bounded = _bounded(bounded_answers(streams=streams), options, recording)
    return httpx2.AsyncClient(transport=_Routes(limits or httpx2.Limits()), **bounded)


def open_local_client(*, streams: bool = False, **options: Any) -> httpx2.AsyncClient:  # noqa: ANN401 - as above
    """A client for this machine only: it reads no environment variable."""
    bounded = _bounded(bounded_answers(streams=streams), options)
    return httpx2.AsyncClient(transport=_Loopback(), trust_env=False, **bounded)


def open_local_client_sync(**options: Any) -> httpx2.Client:  # noqa: ANN401 - as above
    """The same client for code that is not asynchronous."""
    bounded = _bounded(bounded_answers_sync(), options)
    return httpx2.Client(verify=_no_certificates(), trust_env=False, **bounded)


def _bounded(
    bound: Callable[..., Any], options: dict[str, Any], recording: Sequence[Callable[..., Any]] = ()
) -> dict[str, Any]:
    """The options with a response hook that comes before those that might read the body."""
    hooks = options.get("event_hooks", {})
    return {
        **options,
        # httpx2 would also ask for Brotli and Zstandard where it can unpack them; `_Meter` cannot.
        "headers": {"accept-encoding": CODING, **options.get("headers", {})},
        "event_hooks": {**hooks, "response": [*recording, bound, *hooks.get("response", ())]},
    }


class _Loopback(httpx2.AsyncHTTPTransport):
    """Connects directly, and trusts no certificate: for plain HTTP on this machine."""

    def __init__(self, limits: httpx2.Limits | None = None) -> None:
        super().__init__(verify=_no_certificates(), trust_env=False, limits=limits or httpx2.Limits())

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        with explaining_localhost(request.url.host, httpx2.ConnectError):
            return await super().handle_async_request(request)


class _Routes(httpx2.AsyncBaseTransport):
    """Chooses for each request: directly to this machine, or out through `httpx2`'s own choice of proxies."""

    def __init__(self, limits: httpx2.Limits) -> None:
        self._limits = limits
        self._loopback = _Loopback(limits)
        self._outside: httpx2.AsyncClient | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        # `_Loopback` trusts no certificate, so https on this machine takes the other way, which verifies.
        if request.url.scheme == "http" and is_loopback(str(request.url)):
            return await self._loopback.handle_async_request(request)
        if self._outside is None:
            self._outside = _outside_client(self._limits)
        # Unread: the hook of the client around this transport has to bound the body first.
        return await self._outside.send(request, stream=True)

    async def aclose(self) -> None:
        await self._loopback.aclose()
        if self._outside is not None:
            await self._outside.aclose()


def _outside_client(limits: httpx2.Limits) -> httpx2.AsyncClient:
    check_variables()
    # NO_PROXY rarely names `localhost`, so loopback over TLS is direct too.
    direct: dict[str, httpx2.AsyncBaseTransport | None] = {f"all://{host}": None for host in _LOOPBACK_HOSTS}
    try:
        return httpx2.AsyncClient(verify=_system_certificates(), limits=limits, mounts=direct)
    except (ValueError, OSError, ImportError, httpx2.InvalidURL) as error:
        raise PreflightError(
            "The proxy and TLS variables of the environment cannot be used",
            why=reason(error),
            hint="`workshop doctor --all` shows each of them",
        ) from error


@functools.cache
def _system_certificates() -> ssl.SSLContext:
    # Reading them takes 20 ms, and a login opens several clients.
    return httpx2.create_ssl_context()


@functools.cache
def _no_certificates() -> ssl.SSLContext:
    # Not the default context: that reads SSL_CERT_FILE and SSLKEYLOGFILE, and a mistake in one of them must
    # not stop what talks to this machine only.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class UnusableAnswerError(WorkshopError):
    """A body is too large, or it does not match its `Content-Encoding`."""


def bounded_answers(*, streams: bool = False) -> Callable[[httpx2.Response], Coroutine[Any, Any, None]]:
    """A response hook: reading a body of more than MOST_BYTES raises UnusableAnswerError.

    With `streams`, a successful event stream may go on for ever: its reader bounds each event.
    """

    async def bound(response: httpx2.Response) -> None:
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _AsyncBounded(response.stream, _meter(response, streams=streams))

    return bound


def bounded_answers_sync() -> Callable[[httpx2.Response], None]:
    """The same hook for a client that is not asynchronous."""

    def bound(response: httpx2.Response) -> None:
        if isinstance(response.stream, httpx2.SyncByteStream):
            response.stream = _Bounded(response.stream, _meter(response))

    return bound


def unpacked(body: bytes, coding: str) -> bytes:
    """A body without its coding; raises UnusableAnswerError for one that is too large, cut, or in another."""
    meter = _Meter("a recorded server", coding.strip().lower(), MOST_BYTES)
    whole = b"".join(meter.pieces(body))
    meter.end()
    return whole


def _meter(response: httpx2.Response, *, streams: bool = False) -> "_Meter":
    """Remove the coding from the headers too, because the body is read unpacked."""
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    # The length is that of the packed body, which nobody gets to read.
    for name in ("content-encoding", "content-length") if coding != "identity" else ():
        response.headers.pop(name, None)
    endless = streams and response.is_success and response.headers.get("content-type", "").startswith(_EVENTS)
    host = response.request.url.netloc.decode("ascii")
    return _Meter(host, coding, None if endless else MOST_BYTES)


class _Meter:
    """Counts and unpacks the body of one answer."""

    def __init__(self, host: str, coding: str, most: int | None) -> None:
        self._host, self._coding, self._most = host, coding, most
        self._received = self._unpacked = 0
        self._unpacker = zlib.decompressobj(_GZIP_OR_ZLIB) if coding in _UNPACKED else None

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """The unpacked bytes of a chunk, in pieces; raises UnusableAnswerError."""
        self._received += len(chunk)
        self._check(self._received)
        if self._unpacker is None:
            if self._coding != "identity":
                raise self._broken(f"It is compressed as `{self._coding[:20]}`, which was not asked for")
            yield chunk
            return
        while chunk and not self._unpacker.eof:
            try:
                piece = self._unpacker.decompress(chunk, _PIECE)
            except zlib.error as error:
                raise self._broken(
                    f"It is not valid {self._coding} data, which its header announces"
                ) from error
            self._unpacked += len(piece)
            self._check(self._unpacked)
            chunk = self._unpacker.unconsumed_tail
            if piece:
                yield piece

    def end(self) -> None:
        """Raises UnusableAnswerError for a compressed body that ends in its middle."""
        # Without a byte it is not cut: the answer to a HEAD request has the headers of a body, and no body
        # (RFC 9110 section 9.3.2).
        if self._unpacker is not None and self._received and not self._unpacker.eof:
            raise self._broken(f"It ends in the middle of its {self._coding} data")

    def _check(self, count: int) -> None:
        if self._most is not None and count > self._most:
            raise UnusableAnswerError(
                f"The answer of {self._host} is too large",
                why=f"It is over {self._most // 1024} KiB; the rest was not read",
            )

    def _broken(self, why: str) -> UnusableAnswerError:
        return UnusableAnswerError(f"The answer of {self._host} cannot be read", why=why)


class _AsyncBounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, meter: _Meter) -> None:
        self._stream, self._meter = stream, meter

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            for piece in self._meter.pieces(chunk):
                yield piece
        self._meter.end()

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Bounded(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream, meter: _Meter) -> None:
        self._stream, self._meter = stream, meter

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            yield from self._meter.pieces(chunk)
        self._meter.end()

    def close(self) -> None:
        self._stream.close()
