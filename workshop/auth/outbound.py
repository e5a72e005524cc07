"""Outgoing HTTP: one connection pool without cookies and decompression, and the choice of the proxy.

`Remote` sends over the pool's connections without what a session adds to each request: cookies, redirects,
traces, timers, and a task that writes the body, a fifth of the processor time of a call through the gateway.
The connections stay aiohttp's: pool, name look-up, TLS, the tunnel through a proxy, and its strict parser.
aiohttp is imported when a request is first sent: a third of a server's start would wait for it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from yarl import URL

from workshop.auth.config_reader import LOOPBACK_HOSTS
from workshop.auth.limits import Patience
from workshop.core.errors import UsageError
from workshop.core.outgoing import TLS, check_variables

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.http import RawResponseMessage
    from multidict import CIMultiDictProxy

# Shorter than common servers' idle time (uvicorn: 5 s), so that a POST rarely meets a closed connection.
_IDLE_SECONDS = 4.0
_FIELD_BYTES = 16 * 1024


class Outbound:
    """An aiohttp session for as long as the gateway runs."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self._is_running = False
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> "aiohttp.ClientSession":
        if self._session is None:
            if not self._is_running:
                raise RuntimeError("the gateway has not been started")
            self._session = self._new_session()
        return self._session

    async def __aenter__(self) -> Self:
        self._is_running = True
        return self

    def _new_session(self) -> "aiohttp.ClientSession":
        import aiohttp

        return aiohttp.ClientSession(
            # No limit: each client's open stream keeps a connection, and their number is limited already.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.patience.connect),
            max_field_size=_FIELD_BYTES,
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept", "Content-Type"),
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_running = False
        if self._session is not None:
            await self._session.close()
            self._session = None


Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


class SingleFlight(Generic[Key, Result]):
    """One task for all who need the same answer at the same time, by a key of the caller's."""

    def __init__(self) -> None:
        self._running: dict[Key, asyncio.Task[Result]] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._running

    async def join(self, key: Key, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """The result of the task that runs already, or of `work`."""
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = asyncio.create_task(work())
            running.add_done_callback(lambda done: self._finished(key, done))
        # Shielded: one client that goes away must not end it for the others.
        return await asyncio.shield(running)

    def _finished(self, key: Key, done: "asyncio.Task[Result]") -> None:
        del self._running[key]
        if not done.cancelled():
            done.exception()  # looked at, even if everyone who waited has gone


_SWITCHING = 101  # interim by its number, but HTTP ends with it
_REPEATABLE = ("GET", "DELETE")
"""Methods that are sent once more if a connection from the pool turns out to be closed (RFC 9110, 9.2.2)."""


class RemoteAnswer(NamedTuple):
    """The head of an answer, and its body as it arrives; leaving the `with` block ends the exchange."""

    status: int
    headers: "CIMultiDictProxy[str]"
    raw_headers: tuple[tuple[bytes, bytes], ...]
    content: "aiohttp.StreamReader"
    connection: "aiohttp.connector.Connection"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.release()  # which closes it unless the whole body has arrived

    @property
    def media_type(self) -> tuple[str, str]:
        """The media type, and the character set; "utf-8" where none is named."""
        from aiohttp.helpers import parse_content_type

        name, parameters = parse_content_type(self.headers.get("content-type", ""))
        return name, (parameters.get("charset") or "utf-8").lower()


class Remote:
    """The remote server: one URL, to which each request goes."""

    def __init__(self, url: str, outbound: Outbound) -> None:
        self._url = URL(url, encoded=True)
        self._proxy = proxy_for(url)
        self._outbound = outbound
        self._head = (
            f" {self._url.raw_path_qs} HTTP/1.1\r\nHost: {self._url.host_port_subcomponent}\r\n".encode()
        )
        self._address: aiohttp.ClientRequest | None = None

    async def ask(self, method: str, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> RemoteAnswer:
        """Send a request, its headers as they are, and wait for the head of the answer.

        Raises TimeoutError for a connection that takes too long; aiohttp.ClientError or OSError for a server
        that cannot be reached, or whose answer is not HTTP.
        """
        import aiohttp

        lines = [b"%s: %s\r\n" % pair for pair in headers]
        head = b"".join(lines)
        # After a line break in a value, the rest would be a header or a request of its own.
        if not head.count(b"\r") == head.count(b"\n") == len(lines):
            raise ValueError("a header has a line break in it")
        length = b"" if method == "GET" else b"Content-Length: %d\r\n" % len(body)
        sent = b"".join((method.encode(), self._head, head, length, b"\r\n", body))
        try:
            return await self._exchange(sent)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            # A connection that could not be opened did not come from the pool.
            if method not in _REPEATABLE or isinstance(error, aiohttp.ClientConnectorError):
                raise
            return await self._exchange(sent)

    async def _exchange(self, sent: bytes) -> RemoteAnswer:
        connection = await self._connect()
        try:
            message, content = await _answer(connection.protocol, sent)
        except BaseException:
            connection.close()
            raise
        return RemoteAnswer(message.code, message.headers, message.raw_headers, content, connection)

    async def _connect(self) -> "aiohttp.connector.Connection":
        import aiohttp

        session = self._outbound.session
        if self._address is None:
            self._address = aiohttp.ClientRequest(
                "GET", self._url, loop=asyncio.get_running_loop(), session=session, proxy=self._proxy
            )
        if session.connector is None:
            raise aiohttp.ClientConnectionError("the connections are closed")
        return await session.connector.connect(self._address, traces=[], timeout=session.timeout)


async def _answer(
    protocol: "ResponseHandler | None", sent: bytes
) -> "tuple[RawResponseMessage, aiohttp.StreamReader]":
    """The first head that is not an interim one (RFC 9110 section 15.2), and the body as it arrives."""
    import aiohttp
    from aiohttp.http import HttpProcessingError

    if protocol is None or protocol.transport is None:
        raise aiohttp.ServerDisconnectedError
    protocol.transport.write(sent)
    # The parser is made while the server works already; nothing is read before this function waits.
    protocol.set_response_params(read_until_eof=True, auto_decompress=False, max_field_size=_FIELD_BYTES)
    while True:
        try:
            message, content = await protocol.read()
        except HttpProcessingError as error:
            raise aiohttp.ClientPayloadError("the answer is not HTTP") from error
        if message.code not in range(100, 200) or message.code == _SWITCHING:
            return message, content


def broken() -> tuple[type[Exception], ...]:
    """What a request raises if the server cannot be reached, or its answer breaks off."""
    import aiohttp

    return aiohttp.ClientError, OSError


async def read_at_most(content: "aiohttp.StreamReader", most: int) -> bytes | None:
    """The body of an answer; None as soon as it has more than `most` bytes."""
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > most:
            return None
    return bytes(body)


def proxy_for(url: str) -> URL | None:
    """The proxy for an upstream, with its credentials if the environment has some, or None.

    Raises UsageError for an unusable proxy address, PreflightError for an unusable variable of TLS.
    """
    parts = urlsplit(url)
    # Plain http leads to loopback only (see the configuration), and nobody else's loopback is meant.
    if parts.scheme != "https" or parts.hostname in LOOPBACK_HOSTS:
        return None
    check_variables(TLS)
    proxies = getproxies_environment()
    name = "https" if proxies.get("https") else "all"
    address = proxies.get(name)
    if not address or proxy_bypass(parts.netloc):
        return None
    return _proxy(address, f"{name.upper()}_PROXY")


def _proxy(address: str, variable: str) -> URL:
    try:
        proxy = URL(address if "://" in address else f"http://{address}")
        usable = proxy.host is not None and proxy.port is not None and proxy.scheme in {"http", "https"}
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(
            f"{variable} is not the address of a proxy",
            why="It has no host, or is neither http nor https",
            hint="Write http://HOST:PORT",
        )
    return proxy
