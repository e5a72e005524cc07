"""Check an MCP session through a proxy with the SDK's client: list the tools and call one."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx2

from workshop import __version__
from workshop.core.bounded import UnusableAnswerError
from workshop.core.http_client import open_local_client, open_local_client_sync
from workshop.lab.cluster.http_checks import challenged_metadata
from workshop.toolhive.proxy_contract import FORWARD_HINT, MissedError, ServerContract, ToolCall

if TYPE_CHECKING:
    from mcp import Client

DEFECT = (
    "ToolHive's issue #6681: the proxy passes its own token on instead of the upstream's. "
    "Compare its version with `cluster/versions.toml`, and look for `upstreamswap` in its runconfig"
)
_SIGN_IN = "Sign in again: `workshop part 4 run`"
_SIGN_IN_AFRESH = "The login may have been withdrawn there: `workshop login revoke`, then sign in again"
_LOG = "The proxy's log shows more"
_MOST_PAGES = 50
_INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "workshop-status", "version": __version__},
    },
}


@asynccontextmanager
async def session(url: str, seconds: float, *, token: str = "", issuer: str = "") -> AsyncIterator["Client"]:
    """Connect; an error that ends the session is raised as MissedError with its likely cause."""
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    refusals: list[httpx2.Response] = []

    async def note(response: httpx2.Response) -> None:
        if response.is_error and response.request.method == "POST":
            await response.aread()
            refusals.append(response)

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    hooks = {"response": [note]}
    http = open_local_client(streams=True, headers=headers, event_hooks=hooks, timeout=seconds)
    try:
        # "legacy": older tool filters of ToolHive drop fields that MCP 2026-07-28 requires, and up to 0.63.0
        # at least a renamed tool cannot be called there.
        async with http, Client(streamable_http_client(url, http_client=http), mode="legacy") as client:
            yield client
    except Exception as error:  # noqa: BLE001 - the SDK raises groups of anything; all become one MissedError
        cause = _first(error)
        if isinstance(cause, MissedError | TimeoutError):
            raise cause from cause.__cause__
        raise _explained(cause, refusals, issuer) from cause


def failing(url: str, seconds: float) -> str:
    """What is wrong with an MCP endpoint's first answer, in a few words; empty for a valid answer.

    A refusal because of a missing login is a valid answer.
    """
    headers = {"Accept": "application/json, text/event-stream"}
    try:
        with (
            open_local_client_sync(timeout=seconds, headers=headers) as http,
            http.stream("POST", url, json=_INITIALIZE) as response,
        ):
            if opened := response.headers.get("mcp-session-id"):
                http.delete(url, headers={"mcp-session-id": opened})
            wrong = response.is_server_error or response.status_code == httpx2.codes.NOT_FOUND
            return f"MCP requests fail with {response.status_code}" if wrong else ""
    except httpx2.TransportError as error:
        return f"MCP requests get no answer: {str(error) or type(error).__name__}"


async def has_tools(client: "Client") -> str:
    """There is at least one tool; no tool is a known defect of a remote proxy."""
    tools = await _tools_of(client)
    if not tools:
        raise MissedError("You are signed in, but there are no tools", DEFECT)
    return f"{len(tools)} tools"


async def exact_tools(client: "Client", contract: ServerContract) -> str:
    """The tools are those of the MCPToolConfig, and a name it hides cannot be called."""
    tools = await _tools_of(client)
    if not tools or (contract.tools and tools != contract.tools):
        missing, extra = sorted(contract.tools - tools), sorted(tools - contract.tools)
        raise MissedError(
            f"Missing: {', '.join(missing) or 'none'}; not expected: {', '.join(extra) or 'none'}",
            "The pod runs with another MCPToolConfig than the manifests: apply them again",
        )
    if contract.hidden and not await _is_refused(client, contract.hidden):
        raise MissedError(
            f"A call of `{contract.hidden}`, which is not listed, reaches the server",
            "The tool filter is not in force: `kubectl describe mcptoolconfig`",
        )
    return ", ".join(sorted(tools))


async def calls(client: "Client", call: ToolCall) -> str:
    """A call that only reads is answered correctly."""
    result = await client.call_tool(call.tool, dict(call.arguments))
    text = " ".join(getattr(block, "text", "") for block in result.content)
    if result.is_error:
        raise MissedError(
            f"`{call.tool}` answered with an error: {text[:200]}", "The server's log shows more"
        )
    if call.answer not in text:
        found = f"`{call.tool}` answered {text[:200]!r}, without {call.answer!r}"
        raise MissedError(found, "Is it this server that answers here, and this account that signed in?")
    return f"`{call.tool}` answered"


def calculation() -> ToolCall:
    """A sum of two random numbers for part 3, which no cache and no other server can answer."""
    a, b = (secrets.randbelow(1_000_000) for _ in range(2))
    return ToolCall("calculate", {"operation": "add", "a": a, "b": b}, str(a + b))


async def _tools_of(client: "Client") -> frozenset[str]:
    """The names of all tools."""
    found: set[str] = set()
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        found |= {tool.name for tool in page.tools}
        cursor = page.next_cursor
        if not cursor:
            break
    return frozenset(found)


async def _is_refused(client: "Client", tool: str) -> bool:
    from mcp import MCPError

    try:
        await client.call_tool(tool, {})
    except MCPError as error:
        return "not found" in error.message.lower()  # the filter's message; the server's is "Unknown tool"
    return False


def _explained(cause: Exception, refusals: list[httpx2.Response], issuer: str) -> MissedError:
    if isinstance(cause, httpx2.TransportError):
        return MissedError(f"No answer: {cause or type(cause).__name__}", FORWARD_HINT)
    if isinstance(cause, UnusableAnswerError):
        return MissedError(f"{cause.what}: {cause.why}", _LOG)
    if refusals:
        return _refused(refusals[-1], issuer)
    return MissedError(f"{type(cause).__name__}: {str(cause)[:200]}", _LOG)


def _refused(response: httpx2.Response, issuer: str) -> MissedError:
    answer = response.text[:200] or response.reason_phrase
    if response.status_code == httpx2.codes.FORBIDDEN:
        return MissedError(f"403: {answer}", "You are signed in, but this account may not do that upstream")
    if response.status_code == httpx2.codes.MISDIRECTED_REQUEST:
        hint = "The server behind the proxy does not know the name it is called by: `MCP_ALLOWED_HOSTS`"
        return MissedError(f"421: {answer}", hint)
    if response.status_code != httpx2.codes.UNAUTHORIZED:
        return MissedError(f"{response.status_code}: {answer}", _LOG)
    metadata = challenged_metadata(response)
    if metadata and not metadata.startswith(f"{issuer}/"):
        found = f"The upstream itself refused the token it was sent: its 401 names {metadata}"
        return MissedError(found, f"{_SIGN_IN_AFRESH}; if that is refused too, it is {DEFECT}")
    # The proxy's own refusals: with metadata if its token is not valid, without if it lost the upstream's.
    return MissedError("The proxy no longer has this login", _SIGN_IN, needs_login=True)


def _first(error: BaseException) -> Exception:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, Exception) else RuntimeError(str(error))
