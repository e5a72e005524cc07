"""URL elicitation: a server needs the person at one of its own pages; the model does not learn which.

MCP 2025-11-25 and 2026-07-28, "Elicitation", URL mode: nothing is opened or fetched before the
person has read the whole URL and agreed. The server's text is untrusted; requests for a form are declined.
"""

import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import anyio
from mcp import Client, MCPError
from mcp.client import ClientRequestContext, Transport
from mcp.client.session import IncomingMessage
from mcp.shared.message import SessionMessage
from mcp.types import (
    CLIENT_CAPABILITIES_META_KEY,
    INVALID_REQUEST,
    URL_ELICITATION_REQUIRED,
    CallToolResult,
    ElicitationRequiredErrorData,
    ElicitCompleteNotification,
    ElicitRequestFormParams,
    ElicitRequestParams,
    ElicitRequestURLParams,
    ElicitResult,
    ErrorData,
    JSONRPCRequest,
    TextContent,
)
from pydantic import ValidationError

from workshop.agent.approval import Approval, ApproveAs, Consent, nobody
from workshop.agent.events import Observer, PageOpened, PageRequested, Warned, ignore
from workshop.agent.oauth_checks import check_address
from workshop.core.errors import WorkshopError
from workshop.core.text import one_line

LONGEST = 2000
# RFC 3986 section 2 and no more: other characters are where programs read one URL as two different ones.
_ALLOWED = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")


def mistake_in(url: str, server_url: str) -> str:
    """Why the person is not asked to open the URL; empty if they may be. The text never contains the URL."""
    if len(url) > LONGEST:
        return f"it is longer than {LONGEST} characters, too long to read"
    if not _ALLOWED.fullmatch(url):
        return "it has characters that are not allowed in a URL (RFC 3986)"
    try:
        parts = urlsplit(url)
        _ = parts.port  # reading it raises ValueError for a port that cannot be one
        check_address(url, server_url)
    except ValueError:
        return "it is not a URL"
    except WorkshopError as error:
        return f"{error.why[:1].lower()}{error.why[1:]}"
    # `https://github.com@evil.example/` looks like GitHub, and leads to evil.example.
    if "@" in parts.netloc:
        return "it contains a user name or a password"
    return ""


MOST_ADDRESSES = 3
"""Different addresses that one tool call may need."""
EVERY = 1.0
"""Seconds between two calls while the person is at the page."""
_MOST_REFUSALS = 3
_SHOWN_MESSAGE = 300

Action = Literal["accept", "decline", "cancel"]


@dataclass(frozen=True)
class Person:
    """The person at this computer: how they get to a page, how they are asked, how long they may take."""

    approval: Approval
    consent: Consent = nobody
    seconds: float = 300


class Elicitation:
    """The requests of one server to the person: once for each URL, and only during a tool call."""

    def __init__(self, server: str, home: str, person: Person, observe: Observer = ignore) -> None:
        """`server` is the name that is shown to the person; others are checked against the URL `home`."""
        self._server = server
        self._home = home
        self._person = person
        self.seconds = person.seconds
        """How many seconds the person has for one tool call."""
        self.refusal = ""
        """Why the call cannot continue, in words for the model; empty while it can."""
        self._observe = observe
        self._one_at_a_time = anyio.Lock()
        self._calls = 0
        self._forget()

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """The time of a tool call; an agreement is valid for this call and for those at the same time."""
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls:
                self._forget()

    def _forget(self) -> None:
        self._agreed: set[str] = set()
        self._completed: dict[str, anyio.Event] = {}
        self._began: float | None = None
        self._allowed = self._person.seconds
        self.refusal = ""
        self._refusals = 0
        self._action: Action = "accept"

    async def answer(
        self,
        context: ClientRequestContext,  # noqa: ARG002 - the SDK passes it by this name
        params: ElicitRequestParams,
    ) -> ElicitResult | ErrorData:
        """Answer an `elicitation/create` request; the SDK calls this, and then repeats the tool call."""
        if not self._calls:  # a page that no tool call of ours needs could be anything
            return ElicitResult(action="decline")
        action = await self._respond(params)
        # An error ends the SDK's rounds; otherwise a server could ask again after every refusal.
        if self._refusals > _MOST_REFUSALS:
            return ErrorData(code=INVALID_REQUEST, message=self.refusal)
        return ElicitResult(action=action)

    async def note_completion(self, message: IncomingMessage) -> None:
        """Stop waiting for the person when `notifications/elicitation/complete` arrives."""
        if isinstance(message, ElicitCompleteNotification):
            completed = self._completed.get(message.params.elicitation_id)
            if completed:
                completed.set()

    async def settle(self, error: MCPError) -> bool:
        """Do what a URL_ELICITATION_REQUIRED error asks for; return whether to try the call again."""
        try:
            wanted = ElicitationRequiredErrorData.model_validate(error.data).elicitations
        except ValidationError:
            wanted = []
        if not wanted:
            self._refuse("cancel", "The server needs the person at a page, but does not name it")
        # One too many is enough to get the refusal that names the limit.
        for params in wanted[: MOST_ADDRESSES + 1]:
            await self._respond(params)
        return not self.refusal

    async def _respond(self, params: ElicitRequestParams) -> Action:
        async with self._one_at_a_time:
            if self.refusal:
                return self._refuse(self._action, self.refusal)
            if isinstance(params, ElicitRequestFormParams):
                self._observe(Warned(f"{self._server} asks for input in a form; the agent declines those"))
                return self._refuse("decline", "The server asked for input in a form, which is declined here")
            if params.url in self._agreed:
                return await self._wait(params)
            return await self._ask(params)

    async def _ask(self, params: ElicitRequestURLParams) -> Action:
        if len(self._agreed) == MOST_ADDRESSES:
            why = f"The server needs the person at more than {MOST_ADDRESSES} URLs for one call"
            return self._refuse("cancel", why)
        if mistake := mistake_in(params.url, self._home):
            self._observe(Warned(f"{self._server} asks for an address that is not opened: {mistake}"))
            return self._refuse("decline", f"The server asked for an address that is not opened: {mistake}")
        message = one_line(params.message, _SHOWN_MESSAGE)
        self._observe(PageRequested(self._server, params.url, message))
        with anyio.move_on_after(self._allowed - self._elapsed()):
            return await self._open(params)
        return self._late()

    async def _open(self, params: ElicitRequestURLParams) -> Action:
        approval, host = self._person.approval, urlsplit(params.url).hostname or ""
        way, agreed = approval.way, None
        if way != "practice user":  # the option was the agreement, and it is for practice pages only
            agreed = await self._person.consent(_question(way, host))
            if agreed is False:
                return self._refuse(
                    "decline", "The person did not agree to open the page that the server needs"
                )
            # Without a terminal nobody can agree, so the person decides by opening the printed URL.
            way = way if agreed else "printed"
        self._observe(PageOpened(way, host, approval.user, self._allowed - self._elapsed()))
        self._agreed.add(params.url)
        if params.elicitation_id:
            self._completed[params.elicitation_id] = anyio.Event()
        return await self._start(params.url, way)

    async def _start(self, url: str, way: str) -> Action:
        approval = self._person.approval
        try:
            if isinstance(approval, ApproveAs):
                from workshop.agent.practice_browser import approve_page

                await approve_page(url, approval.user)
                self._allowed = min(self._allowed, self._elapsed() + approval.seconds)
            elif way == "browser":
                await approval.start(url)
        except WorkshopError as error:
            self._observe(Warned(error.sentence))
            return self._refuse("cancel", "The page that the server needs could not be completed")
        return "accept"

    async def _wait(self, params: ElicitRequestURLParams) -> Action:
        """Wait a second for the person, or less if the server announces that they have finished."""
        remaining = self._allowed - self._elapsed()
        if remaining <= 0:
            return self._late()
        completed = self._completed.get(params.elicitation_id or "")
        # Not every server announces the end, so the call is repeated every second.
        with anyio.move_on_after(min(EVERY, remaining)):
            await (completed or anyio.Event()).wait()
            self._completed.pop(params.elicitation_id or "", None)
        return "accept"

    def _elapsed(self) -> float:
        """Seconds since the person was first needed."""
        now = anyio.current_time()
        self._began = now if self._began is None else self._began
        return now - self._began

    def _late(self) -> Action:
        return self._refuse("cancel", f"The person did not finish within {self._allowed:.3g} seconds")

    def _refuse(self, action: Action, why: str) -> Action:
        self._action, self.refusal = action, why
        self._refusals += 1
        return action


def _question(way: str, host: str) -> str:
    return f"Open {host} in your browser?" if way == "browser" else f"Will you open it? It leads to {host}."


_SPARE_ROUNDS = 10  # calls that do not wait: the first one, and those after a page is completed


class AskingClient(Client):
    """The SDK's client; if a call needs the person first, it waits for them and repeats the call."""

    elicitation: Elicitation | None = None

    @classmethod
    def over(
        cls,
        transport: Transport,
        seconds: float,
        elicitation: Elicitation | None,
        **options: Any,  # noqa: ANN401 - the SDK's
    ) -> Self:
        """A client whose requests end within `seconds`; without `elicitation`, nobody is asked."""
        if elicitation is None:
            return cls(transport, read_timeout_seconds=seconds, **options)
        client = cls(
            _url_mode_alone(transport),
            read_timeout_seconds=seconds,
            elicitation_callback=elicitation.answer,
            message_handler=elicitation.note_completion,
            input_required_max_rounds=int(elicitation.seconds / EVERY) + _SPARE_ROUNDS,
            **options,
        )
        client.elicitation = elicitation
        return client

    async def call_tool(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        *more: Any,  # noqa: ANN401 - the SDK's
        **options: Any,  # noqa: ANN401 - same
    ) -> CallToolResult:
        """Call a tool, as the SDK does; if the person declines or is late, the result has `is_error`."""
        asking = self.elicitation
        if asking is None:
            return await super().call_tool(name, arguments, *more, **options)
        # The person's time, and the server's for the first call and for the last one.
        bound = asking.seconds + 2 * (self.read_timeout_seconds or 0)
        with asking.call(), anyio.move_on_after(bound):
            while True:
                try:
                    return await super().call_tool(name, arguments, *more, **options)
                except MCPError as error:
                    if error.code == URL_ELICITATION_REQUIRED and await asking.settle(error):
                        continue
                    if not asking.refusal:
                        raise
                    return _failed(asking.refusal)
        return _failed(f"The call took longer than {bound:g} seconds")


def _failed(why: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=why)], is_error=True)


@contextlib.asynccontextmanager
async def _url_mode_alone(transport: Transport) -> AsyncIterator[tuple[Any, Any]]:
    """The transport, declaring URL mode only: the SDK (2.3.0) also declares forms."""
    async with transport as (reading, writing):
        yield reading, _Declaring(writing)


class _Declaring:
    """A stream to the server that takes form mode out of the declared capabilities."""

    def __init__(self, stream: Any) -> None:  # noqa: ANN401 - the SDK's protocol for it is private
        self._stream = stream

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        ended: bool | None = await self._stream.__aexit__(kind, error, trace)
        return ended

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def send(self, item: SessionMessage) -> None:
        if isinstance(item.message, JSONRPCRequest):
            params = item.message.params or {}
            stamped = params.get("_meta", {}).get(CLIENT_CAPABILITIES_META_KEY, {})
            for declared in (params.get("capabilities"), stamped):
                if isinstance(declared, dict):
                    declared.get("elicitation", {}).pop("form", None)
        await self._stream.send(item)
