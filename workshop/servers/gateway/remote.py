"""Requests to the remote server over aiohttp's connections, without what its session adds to each of them.

A session prepares cookies, redirects, traces and timers, and starts a task that writes the body: a fifth of
the processor time of a call here, where all that is needed is one write, and then the answer as it arrives.
The connections stay aiohttp's: pool, name look-up, TLS, the tunnel through a proxy, and its strict parser.
"""

import asyncio
from typing import NamedTuple, Self

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import parse_content_type
from aiohttp.http import HttpProcessingError, RawResponseMessage
from multidict import CIMultiDictProxy
from yarl import URL

from workshop.auth import Outbound
from workshop.auth.outbound import FIELD_BYTES, proxy_for

RawHeaders = list[tuple[bytes, bytes]]
_SWITCHING = 101
_REPEATABLE = ("GET", "DELETE")
"""Methods that are sent once more if a connection from the pool turns out to be closed (RFC 9110, 9.2.2)."""


class RemoteAnswer(NamedTuple):
    """The head of an answer, and its body as it arrives; leaving the `with` block ends the exchange."""

    status: int
    headers: CIMultiDictProxy[str]
    raw_headers: tuple[tuple[bytes, bytes], ...]
    content: aiohttp.StreamReader
    connection: aiohttp.connector.Connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.release()  # which closes it unless the whole body has arrived

    @property
    def media_type(self) -> tuple[str, str]:
        """The media type, and the character set; "utf-8" where none is named."""
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

    async def ask(self, method: str, headers: RawHeaders, body: bytes) -> RemoteAnswer:
        """Send a request, its headers as they are, and wait for the head of the answer.

        Raises TimeoutError for a connection that takes too long; aiohttp.ClientError or OSError for a server
        that cannot be reached, or whose answer is not HTTP.
        """
        lines = b"".join([b"%s: %s\r\n" % pair for pair in headers])
        if not lines.count(b"\r") == lines.count(b"\n") == len(headers):
            raise ValueError("a header has a line break in it")
        length = b"" if method == "GET" else b"Content-Length: %d\r\n" % len(body)
        sent = b"".join((method.encode(), self._head, lines, length, b"\r\n", body))
        try:
            return await self._exchange(sent)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
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

    async def _connect(self) -> aiohttp.connector.Connection:
        session = self._outbound.session
        if self._address is None:
            self._address = aiohttp.ClientRequest(
                "GET", self._url, loop=asyncio.get_running_loop(), session=session, proxy=self._proxy
            )
        if session.connector is None:
            raise aiohttp.ClientConnectionError("the gateway is being stopped")
        return await session.connector.connect(self._address, traces=[], timeout=session.timeout)


async def _answer(
    protocol: ResponseHandler | None, sent: bytes
) -> tuple[RawResponseMessage, aiohttp.StreamReader]:
    """The first head that is not an interim one (RFC 9110 section 15.2), and the body as it arrives."""
    if protocol is None or protocol.transport is None:
        raise aiohttp.ServerDisconnectedError
    protocol.set_response_params(read_until_eof=True, auto_decompress=False, max_field_size=FIELD_BYTES)
    protocol.transport.write(sent)
    while True:
        try:
            message, content = await protocol.read()
        except HttpProcessingError as error:
            raise aiohttp.ClientPayloadError("the answer is not HTTP") from error
        if message.code not in range(100, 200) or message.code == _SWITCHING:
            return message, content
