"""One upstream MCP server, over HTTP or as a process: its list of tools, and a call, each for one caller."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
from mcp import Client, MCPError
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolRequest, CallToolRequestParams, CallToolResult, Tool
from registrations import Registration

from workshop.core.http_client import open_client
from workshop.servers.variation.service import timed_upstream

logging.getLogger("mcp.client").setLevel(logging.CRITICAL)  # it logs, with tracebacks, what it then raises
# The agent waits 30. What has just started, a process or a server, loads a lot for its first list.
_LIST_SECONDS, _CALL_SECONDS = 20.0, 25.0
_MOST_PAGES = 50
_MOST_PROCESSES = 8
_REFUSALS = (401, 403)


class UpstreamServerError(Exception):
    """The server did not do what it was asked; the text is for the caller."""


class CredentialRefusedError(UpstreamServerError):
    """The server refused the credential; the text is the HTTP status."""


@dataclass(frozen=True)
class UpstreamServer:
    """A registered server.

    A session with it is opened when it is needed, for one caller, and closed behind the answer; a server over
    stdio is a process for that long. Every method raises UpstreamServerError.
    """

    one: Registration
    _processes: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_MOST_PROCESSES))

    async def tools(self, credential: str) -> list[Tool]:
        """All its tools, whatever their number of pages."""
        found: list[Tool] = []
        cursor: str | None = None
        async with self._session(credential, _LIST_SECONDS) as client:
            for _ in range(_MOST_PAGES):
                page = await client.list_tools(cursor=cursor)
                found, cursor = [*found, *page.tools], page.next_cursor
                if not cursor:
                    break
        return found

    async def call(
        self, credential: str, tool: str, arguments: Mapping[str, object] | None
    ) -> CallToolResult:
        params = CallToolRequestParams(name=tool, arguments=None if arguments is None else dict(arguments))
        async with self._session(credential, _CALL_SECONDS) as client:
            # Not `client.call_tool`: it would list the tools too, in the caller's name.
            return await client.session.send_request(CallToolRequest(params=params), CallToolResult)

    @asynccontextmanager
    async def _session(self, credential: str, seconds: float) -> AsyncIterator[Client]:
        refused: list[int] = []
        connected = (
            self._over_http(credential, seconds, refused) if self.one.url else self._process(credential)
        )
        try:
            with timed_upstream(self.one.shown_name):
                async with asyncio.timeout(seconds), connected as client:
                    yield client
        except Exception as error:  # the SDK's, httpx2's, pydantic's, and groups of them
            if refused:
                raise CredentialRefusedError(f"HTTP {refused[-1]}") from error
            raise UpstreamServerError(self._described(error)) from error

    @asynccontextmanager
    async def _over_http(self, credential: str, seconds: float, refused: list[int]) -> AsyncIterator[Client]:
        """Nothing of the client's own request goes upstream: only the fixed headers, and the credential."""

        async def note(response: httpx2.Response) -> None:
            if response.status_code in _REFUSALS:
                refused.append(response.status_code)

        headers = {**self.one.headers, "Authorization": f"Bearer {credential}"}
        async with (
            open_client(
                headers=headers, timeout=seconds, streams=True, event_hooks={"response": [note]}
            ) as http,
            Client(streamable_http_client(self.one.url or "", http_client=http)) as client,
        ):
            yield client

    @asynccontextmanager
    async def _process(self, credential: str) -> AsyncIterator[Client]:
        """What it writes to stderr is not logged: it may quote the credential."""
        program, *arguments = self.one.command
        variable = self.one.credential_variable
        environment = {**self.one.environment, **({variable: credential} if variable else {})}
        server = StdioServerParameters(command=program, args=arguments, env=environment)
        with Path(os.devnull).open("w") as nowhere:  # noqa: ASYNC230 - a device
            async with self._processes, Client(stdio_client(server, errlog=nowhere)) as client:
                yield client

    def _described(self, error: BaseException) -> str:
        if isinstance(error, BaseExceptionGroup):
            return self._described(error.exceptions[0])
        if isinstance(error, MCPError):
            return f"MCP error {error.code}: {error.message.partition(chr(10))[0][:300]}"
        return f"The server behind {self.one.prefix} gives no usable answer: {type(error).__name__}"
