"""Connect to an MCP server over streamable HTTP or stdio; failures become our errors."""

import contextlib
import logging
import shlex
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx2
from anyio.abc import TaskGroup, TaskStatus
from anyio.streams.text import TextReceiveStream
from mcp import Client, MCPError, StdioServerParameters
from mcp.client import Transport, stdio
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import (
    CONNECTION_CLOSED,
    HEADER_MISMATCH,
    PARSE_ERROR,
    REQUEST_TIMEOUT,
    CallToolResult,
    ListToolsResult,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from workshop.agent.elicitation import AskingClient, Elicitation, Person
from workshop.agent.events import Connected, Connecting, Observer, Warned, ignore
from workshop.agent.http import headers_for, open_client, status_line
from workshop.agent.mcp_tools import first_mistake
from workshop.core.errors import DeadlineError, WorkshopError, reason
from workshop.core.http_client import MOST_BYTES, UnusableAnswerError
from workshop.core.text import one_line
from workshop.recorder import current

_OLDER = "the agent uses the older handshake of 2025-11-25 instead"
_LISTED = (
    "The list of tools is not valid in MCP {version}, as with a tool filter of ToolHive 0.44.0: " + _OLDER
)
_CALLED = (
    "A call in MCP {version} arrived with two names, as when ToolHive renames a tool in the body but not in "
    "the header: " + _OLDER
)


@dataclass
class _Older:
    """The client of the older era: opened when it is first needed, closed with the newer one.

    It runs in a task of its own, because the call that first needs it may have an earlier time limit.
    """

    opening: Callable[[], AskingClient]
    opened: Callable[[], None]
    tasks: TaskGroup
    client: AskingClient | None = None
    _one_at_a_time: anyio.Lock = field(default_factory=anyio.Lock)
    _end: anyio.Event = field(default_factory=anyio.Event)

    async def get(self) -> AskingClient:
        # Several calls may need the older client at once: only the first opens it.
        async with self._one_at_a_time:
            if self.client is None:
                self.client = await self.tasks.start(self._hold)
                self.opened()
        return self.client

    def close(self) -> None:
        self._end.set()

    async def _hold(self, *, task_status: TaskStatus[AskingClient]) -> None:
        client = self.opening()
        async with client:
            task_status.started(client)
            await self._end.wait()


class CheckedClient(AskingClient):
    """A client of the newer era, which returns the tools that it has listed already to the first caller.

    Once a call has arrived with two names, it lists and calls tools in the older era.
    """

    listed: ListToolsResult | None = None
    older: _Older | None = None

    async def list_tools(self, *, cursor: str | None = None, **options: Any) -> ListToolsResult:  # noqa: ANN401 - the SDK's
        """The tools, as the SDK lists them."""
        if self.older and self.older.client:
            return await self.older.client.list_tools(cursor=cursor, **options)
        if cursor is None and not options and self.listed is not None:
            listed, self.listed = self.listed, None  # once: a later caller wants the list as it is then
            return listed
        return await super().list_tools(cursor=cursor, **options)

    async def call_tool(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        *more: Any,  # noqa: ANN401 - the SDK's
        **options: Any,  # noqa: ANN401 - same
    ) -> CallToolResult:
        """Call a tool; if its header and its body arrive with two names, call it in the older era."""
        older = self.older.client if self.older else None
        if older is None:
            try:
                return await super().call_tool(name, arguments, *more, **options)
            except MCPError as mismatch:
                if mismatch.code != HEADER_MISMATCH or self.older is None:
                    raise
                older = await _step_back(self.older, mismatch)
        return await older.call_tool(name, arguments, *more, **options)


async def _step_back(older: _Older, mismatch: MCPError) -> AskingClient:
    try:
        return await older.get()
    except Exception as error:  # the older era failed too: report the first refusal
        raise mismatch from error


@contextlib.asynccontextmanager
async def open_in_an_era(
    transport: Callable[[], Transport],
    seconds: float,
    observe: Observer,
    elicitation: Elicitation | None = None,
) -> AsyncIterator[Client]:
    """A client in the newest era, or in the older one if the newest does not work with this server."""

    def older() -> AskingClient:
        return AskingClient.over(transport(), seconds, elicitation, mode="legacy")

    client = CheckedClient.over(transport(), seconds, elicitation)
    async with client:
        version = client.protocol_version
        if await _speaks(client):
            async with _stepping_back(
                client, older, lambda: observe(Warned(_CALLED.format(version=version)))
            ):
                yield client
            return
    observe(Warned(_LISTED.format(version=version)))
    async with older() as spoken:
        yield spoken


@contextlib.asynccontextmanager
async def _stepping_back(
    client: CheckedClient, opening: Callable[[], AskingClient], opened: Callable[[], None]
) -> AsyncIterator[None]:
    """Let a client of the newer era change to the older one while this is open."""
    if client.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        yield
        return
    async with anyio.create_task_group() as tasks:
        client.older = _Older(opening, opened, tasks)
        try:
            yield
        finally:
            client.older.close()


async def _speaks(client: CheckedClient) -> bool:
    """Whether the server's list of tools is valid in the client's era of the protocol."""
    # In the older era there is nothing left to change to.
    if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or client.server_capabilities.tools is None:
        return True
    try:
        client.listed = await client.list_tools()
    except ValidationError:
        return False
    return True


Target = str | StdioServerParameters
_MOST_SHOWN = 300

# The SDK logs, with tracebacks, the errors that it raises; without a handler, Python prints them to stderr.
logging.getLogger("mcp").addHandler(logging.NullHandler())


@contextlib.asynccontextmanager
async def connect(
    target: Target,
    *,
    auth: httpx2.Auth | None = None,
    headers: Mapping[str, str] | None = None,
    person: Person | None = None,
    seconds: float = 30,
    observe: Observer = ignore,
) -> AsyncIterator[Client]:
    """A client connected to the server at a URL, or to a program it starts; requests end within `seconds`.

    Extra `headers` are sent to that URL only; a program gets none. Without a `person`, no tool can ask one.

    Raises WorkshopError if nothing answers, or if the server refuses the session or does not speak MCP,
    DeadlineError if it takes too long; errors of the login and of the `async with` body are raised unchanged
    and outside their exception group.
    """
    label = target if isinstance(target, str) else shlex.join([target.command, *target.args])
    if recorder := current():
        # They may hold a credential, which must not be in a trace.
        recorder.secrets += (headers or {}).values()
    server = _Server(label, isinstance(target, str), seconds, headers or {})
    observe(Connecting(server.name))
    opened = False
    try:
        elicitation = Elicitation(server.name, server.home, person, observe) if person else None
        async with server.client(target, auth, observe, elicitation) as client:
            name = client.server_info.name if client.server_info else ""
            observe(Connected(server.name, name, client.protocol_version))
            opened = True
            yield client
    except Exception as error:  # noqa: BLE001 - every error is raised again, out of its group
        cause = cause_of(error)
        explained_error = server.explain(cause)
        # Only until the session is open: later, these may be errors of the caller's own code.
        if explained_error is None and not opened and isinstance(cause, ValidationError | RuntimeError):
            explained_error = server.unusable(cause)  # the SDK's errors for an answer that is not MCP's
        if explained_error is None:
            raise cause from cause.__cause__
        raise explained_error from cause


def explained(url: str, error: Exception) -> WorkshopError:
    """The error that ended a connection to the server at `url`, as a WorkshopError outside its group."""
    cause = cause_of(error)
    if isinstance(cause, WorkshopError):
        return cause
    known = _Server(url, remote=True, seconds=0).explain(cause)
    why = one_line(f"{type(cause).__name__}: {cause}")
    return known or WorkshopError(f"The connection to {url} failed", why=why)


class _BoundedLines(TextReceiveStream):
    """What a program writes to its stdout, as long as no line has more than `MOST_BYTES`."""

    _line = 0

    async def receive(self) -> str:
        text = await super().receive()
        _, newline, last = text.rpartition("\n")
        self._line = len(last.encode()) + (0 if newline else self._line)
        if self._line > MOST_BYTES:
            await self.transport_stream.aclose()  # the SDK reads the rest, which may be endless, until then
            raise UnusableAnswerError(
                "The answer of the MCP server that the agent started is too large",
                why=f"Its line is over {MOST_BYTES // 1024} KiB; the rest was not read",
            )
        return text


# The SDK reads a line of any length into memory, and has no setting for that.
stdio.TextReceiveStream = _BoundedLines  # type: ignore[attr-defined]


@dataclass
class _Server:
    """The server at the other end, and its last HTTP failure."""

    label: str
    remote: bool
    seconds: float
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    failure: httpx2.Response | None = None

    @property
    def name(self) -> str:
        """The URL, or the command without its folders."""
        return self.label if self.remote else " ".join(Path(word).name for word in shlex.split(self.label))

    @property
    def home(self) -> str:
        """The URL of the server; a program that the agent starts is on this machine."""
        return self.label if self.remote else "http://localhost"

    @contextlib.asynccontextmanager
    async def client(
        self, target: Target, auth: httpx2.Auth | None, observe: Observer, elicitation: Elicitation | None
    ) -> AsyncIterator[Client]:
        if not isinstance(target, str):
            # Half a UTF-8 sequence in one answer must not end the session.
            target = target.model_copy(update={"encoding_error_handler": "replace"})
            # The real stderr: while progress is shown, `sys.stderr` is a stand-in of rich.
            transport = stdio_client(target, errlog=sys.__stderr__ or sys.stderr)
            async with AskingClient.over(transport, self.seconds, elicitation) as client:
                yield client
            return
        given = [headers_for(target, self.headers)] if self.headers else []
        # A little longer than the protocol's own limit, which has the better error message.
        async with open_client(
            self.seconds + 5, auth=auth, on_request=given, on_response=[self._note], streams=True
        ) as http:
            opened = open_in_an_era(
                lambda: streamable_http_client(target, http_client=http), self.seconds, observe, elicitation
            )
            async with opened as client:
                yield client

    async def _note(self, response: httpx2.Response) -> None:
        # The SDK's own error for a refused request has neither its status nor its reason.
        self.failure = response if response.is_error else None

    def explain(self, error: Exception) -> WorkshopError | None:
        """A failure of the transport or the protocol as a WorkshopError; None for any other error."""
        if isinstance(error, MCPError):
            return self._refused(error)
        if isinstance(error, httpx2.RequestError | httpx2.InvalidURL):
            return self._unreachable(error)
        if isinstance(error, FileNotFoundError | PermissionError) and not self.remote and error.filename:
            return WorkshopError(f"Cannot start `{self.label}`", why=f"{reason(error)}: {error.filename}")
        return None

    def _unreachable(self, error: httpx2.RequestError | httpx2.InvalidURL) -> WorkshopError:
        if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol):
            return WorkshopError(
                f"{one_line(self.label)!r} is not the URL of an MCP server",
                why=one_line(str(error), _MOST_SHOWN),
            )
        if isinstance(error, httpx2.TimeoutException) and not isinstance(error, httpx2.ConnectTimeout):
            return self._late()
        nobody = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
        return WorkshopError(
            f"Nothing answers at {self.label}" if nobody else f"The connection to {self.label} was lost",
            why=one_line(str(error), _MOST_SHOWN) or type(error).__name__,
            hint="`workshop up` starts what the parts need; `workshop status` shows what runs",
        )

    def _refused(self, error: MCPError) -> WorkshopError:
        if error.code == REQUEST_TIMEOUT:
            return self._late()
        if error.code == CONNECTION_CLOSED and not self.remote:
            return WorkshopError(
                f"`{self.label}` ended before it answered",
                why="If it wrote a message, that is shown above",
                hint="Run the command yourself to see its output",
            )
        if error.code == PARSE_ERROR:
            return self.unusable(ValueError("Its answer is not JSON-RPC 2.0"))
        status = f"HTTP {status_line(self.failure)}, " if self.failure else ""
        return WorkshopError(
            f"The MCP server at {self.label} refused the request",
            why=f"It answered {status}{one_line(error.message, _MOST_SHOWN)}",
            hint="`workshop logs` shows what the server wrote",
        )

    def unusable(self, error: Exception) -> WorkshopError:
        """The server answered, but not as MCP requires."""
        why = first_mistake(error) if isinstance(error, ValidationError) else str(error)
        return WorkshopError(
            f"The server at {self.label} does not answer as MCP requires",
            why=one_line(why, _MOST_SHOWN),
            hint="Check that the URL leads to an MCP server; `workshop probe URL` shows more",
        )

    def _late(self) -> DeadlineError:
        return DeadlineError(
            f"{self.label} did not answer within {self.seconds:g} seconds",
            hint="`workshop status` shows what runs; `[timeouts] call` in part.toml sets the bound",
        )


def cause_of(error: Exception) -> Exception:
    """The error that matters in an exception group: task groups wrap the error that ends them (PEP 654)."""
    leaves = _leaves(error)
    known = [leaf for leaf in leaves if isinstance(leaf, WorkshopError)]
    return (known or leaves)[0]


def _leaves(error: Exception) -> list[Exception]:
    if not isinstance(error, ExceptionGroup):
        return [error]
    return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
