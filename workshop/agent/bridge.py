"""A bridge: MCP over stdio on one side, and a remote server with the agent's login on the other.

For clients that start programs and know no OAuth. Messages pass as they are, in both directions; only the
headers that HTTP wants besides the message are added (MCP, streamable HTTP transport).
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, cast

import anyio
import httpx2
from mcp.client.streamable_http import streamable_http_client
from mcp.server.stdio import stdio_server
from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    encode_header_value,
)
from mcp.shared.message import ClientMessageMetadata, SessionMessage
from mcp_types import (
    CONNECTION_CLOSED,
    PROTOCOL_VERSION_META_KEY,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)

from workshop.agent.approval import Approval
from workshop.agent.connect import cause_of, explained
from workshop.agent.events import Observer, ignore
from workshop.agent.http import headers_for, open_client
from workshop.agent.listener import LoopbackListener
from workshop.agent.oauth import OAuthClient
from workshop.agent.token_store import TokenStore
from workshop.core.errors import WorkshopError
from workshop.core.http_client import MOST_BYTES, UnusableAnswerError
from workshop.core.ports import free_port

_SILENCE_SECONDS = 3600.0
"""A stream from the server may be silent for long; a call ends when the client cancels it."""
_AHEAD = 4
_LAST_SECONDS = 5.0
"""How long requests may still be answered after the client has closed its end."""


class Bridge:
    """Carries messages between stdio and the server at `url` until the client closes its end.

    A failure of the server or of the login goes to `failed`, and answers the requests that wait with an
    error; the next message connects again.
    """

    def __init__(
        self,
        url: str,
        tokens: TokenStore,
        approval: Approval,
        *,
        failed: Callable[[WorkshopError], object],
        headers: Mapping[str, str] | None = None,
        observe: Observer = ignore,
    ) -> None:
        self._url, self._tokens, self._approval = url, tokens, approval
        self._headers = headers or {}
        self._observe, self._failed = observe, failed
        self._waiting: dict[RequestId, str] = {}
        self._answered = asyncio.Event()
        self._version = ""

    async def run(self) -> None:
        """Serve this process's stdin and stdout; nothing but MCP is written to stdout.

        Raises UnusableAnswerError for a line of stdin over `MOST_BYTES`.
        """
        try:
            await self._serve()
        except ExceptionGroup as group:
            raise cause_of(group) from group

    async def _serve(self) -> None:
        # Python's own stdin would be read by a thread that outlives a cancellation.
        lines = cast("anyio.AsyncFile[str]", _stdin_lines())
        async with (
            stdio_server(stdin=lines) as (from_client, to_client),
            to_client,  # closed, it ends the task that writes
            # Not the usual port: each client that is open starts a bridge of its own.
            LoopbackListener(free_port()) as listener,
        ):
            auth = OAuthClient(
                self._url,
                listener=listener,
                approval=self._approval,
                tokens=self._tokens,
                observe=self._observe,
            )
            # The client's first message opens a connection, and so does its first message after a failure.
            async for sent in from_client:
                if isinstance(sent, SessionMessage):
                    await self._connected(self._stamped(sent.message), auth, from_client, to_client)

    async def _connected(
        self,
        first: SessionMessage,
        auth: httpx2.Auth,
        from_client: Any,  # noqa: ANN401 - the SDK's streams
        to_client: Any,  # noqa: ANN401 - same
    ) -> None:
        """Carry messages over one connection, until the client closes or the connection fails."""
        try:
            async with (
                open_client(
                    _SILENCE_SECONDS,
                    auth=auth,
                    on_request=[headers_for(self._url, self._headers)],
                    streams=True,
                ) as http,
                streamable_http_client(self._url, http_client=http) as (from_server, to_server),
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(self._answers, from_server, to_client)
                await to_server.send(first)
                async for sent in from_client:
                    if isinstance(sent, SessionMessage):
                        await to_server.send(self._stamped(sent.message))
                with anyio.move_on_after(_LAST_SECONDS):
                    while self._waiting:
                        self._answered.clear()
                        await self._answered.wait()
                tasks.cancel_scope.cancel()
        except Exception as error:  # noqa: BLE001 - whatever ends a connection ends no more than that
            await self._explain(explained(self._url, error), to_client)

    async def _answers(self, from_server: Any, to_client: Any) -> None:  # noqa: ANN401 - same
        async for received in from_server:
            if not isinstance(received, SessionMessage):
                continue
            message = received.message
            if isinstance(message, JSONRPCResponse | JSONRPCError) and message.id is not None:
                asked = self._waiting.pop(message.id, "")
                # Until 2025-11-25 the version is agreed once, and a header of each later request repeats it.
                if asked == "initialize" and isinstance(message, JSONRPCResponse):
                    self._version = str(message.result.get("protocolVersion", ""))
            await to_client.send(SessionMessage(message))
            self._answered.set()

    def _stamped(self, message: JSONRPCMessage) -> SessionMessage:
        """The message with the HTTP headers of its protocol version."""
        if isinstance(message, JSONRPCRequest):
            self._waiting[message.id] = message.method
        headers = {MCP_PROTOCOL_VERSION_HEADER: self._version} if self._version else {}
        if isinstance(message, JSONRPCRequest | JSONRPCNotification):
            params = message.params or {}
            # Since 2026-07-28 each request names its version, and headers repeat what it is about.
            if version := (params.get("_meta") or {}).get(PROTOCOL_VERSION_META_KEY):
                headers = {MCP_PROTOCOL_VERSION_HEADER: str(version), MCP_METHOD_HEADER: message.method}
                name = params.get(NAME_BEARING_METHODS.get(message.method, ""))
                headers |= {MCP_NAME_HEADER: encode_header_value(name)} if isinstance(name, str) else {}
        return SessionMessage(message, ClientMessageMetadata(headers=headers))

    async def _explain(self, error: WorkshopError, to_client: Any) -> None:  # noqa: ANN401 - same
        self._failed(error)
        waiting, self._waiting = list(self._waiting), {}
        data = ErrorData(code=CONNECTION_CLOSED, message=error.sentence)
        for request in waiting:
            await to_client.send(SessionMessage(JSONRPCError(jsonrpc="2.0", id=request, error=data)))


async def _stdin_lines() -> AsyncIterator[str]:
    """The lines of stdin, from a thread that does not keep the process alive and reads a few lines ahead."""
    loop, lines, slots = asyncio.get_running_loop(), asyncio.Queue[bytes](), threading.Semaphore(_AHEAD)

    def read() -> None:
        with contextlib.suppress(RuntimeError), open(0, "rb", closefd=False) as stdin:  # the loop has ended
            for line in iter(lambda: stdin.readline(MOST_BYTES + 1), b""):
                # A client that writes faster than the server answers must wait, not fill the memory.
                slots.acquire()
                loop.call_soon_threadsafe(lines.put_nowait, line)
            loop.call_soon_threadsafe(lines.put_nowait, b"")

    threading.Thread(target=read, daemon=True).start()
    while line := await lines.get():
        if len(line) > MOST_BYTES:
            raise UnusableAnswerError(
                "The client's message is too large", why=f"Its line is over {MOST_BYTES // 1024} KiB"
            )
        slots.release()
        yield line.decode("utf-8", "replace")
