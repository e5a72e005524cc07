"""URL elicitation: a server needs the person at a page of its own, and the model never learns which.

MCP 2025-11-25 and 2026-07-28, "Elicitation", URL mode: nothing is opened or fetched before the person has
seen the whole address and agreed. What the server says is untrusted; its forms are declined.
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

from workshop.agent.approval import Approval, Consent, nobody
from workshop.agent.events import Observer, VisitRequested, VisitStarted, Warned, ignore
from workshop.agent.oauth_checks import check_address
from workshop.core.errors import WorkshopError
from workshop.core.foreign import one_line

LONGEST = 2000
# RFC 3986 section 2 and no more: other characters are where programs read one URL as two different ones.
_ALLOWED = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")


def mistake_in(url: str, server_url: str) -> str:
    """Why the address is not shown to be opened; empty when it may be. It is never part of the text."""
    if len(url) > LONGEST:
        return f"it is longer than {LONGEST} characters, and nobody could read it"
    if not _ALLOWED.fullmatch(url):
        return "it has characters that no URL has (RFC 3986)"
    try:
        parts = urlsplit(url)
        _ = parts.port
        check_address(url, server_url)
    except ValueError:
        return "it is no URL"
    except WorkshopError as error:
        return f"{error.why[:1].lower()}{error.why[1:]}"
    if "@" in parts.netloc:
        return "it carries a user name or a password"
    return ""


MOST_ADDRESSES = 3
"""Different addresses that one tool call may need."""
EVERY = 1.0
"""Seconds between two calls while the person is at the page."""
AFTER_A_VISIT = 10.0
"""Seconds in which a server has to see that a practice user is through: nobody else will come."""
_MOST_REFUSALS = 3
_SHOWN_MESSAGE = 300

Action = Literal["accept", "decline", "cancel"]


@dataclass(frozen=True)
class Person:
    """Whoever sits at this computer: how they get to a page, how they are asked, how long they may take."""

    approval: Approval
    consent: Consent = nobody
    seconds: float = 300


class Elicitation:
    """What one server may ask of the person; once for each address, and only while it answers a tool call."""

    def __init__(self, server: str, home: str, person: Person, observe: Observer = ignore) -> None:
        """`server` is the name shown to the person, `home` the URL against which addresses are checked."""
        self._server = server
        self._home = home
        self._person = person
        self._observe = observe
        self._one_at_a_time = anyio.Lock()
        self._calls = 0
        self._forget()

    @property
    def seconds(self) -> float:
        """How long the person may take for all that one tool call needs."""
        return self._person.seconds

    @property
    def refusal(self) -> str:
        """Why this call cannot go on, in words that the model may read; empty while it can."""
        return self._refusal

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """A tool call; what was asked and agreed to holds for it, and for those at the same time."""
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
        self._refusal = ""
        self._refusals = 0
        self._action: Action = "accept"

    async def answer(
        self,
        context: ClientRequestContext,  # noqa: ARG002 - the SDK passes it by this name
        params: ElicitRequestParams,
    ) -> ElicitResult | ErrorData:
        """Answer an `elicitation/create`: the SDK calls this, and sends the call again where one needs it."""
        if not self._calls:
            return ElicitResult(action="decline")
        action = await self._respond(params)
        if self._refusals > _MOST_REFUSALS:
            return ErrorData(code=INVALID_REQUEST, message=self._refusal)
        return ElicitResult(action=action)

    async def heard(self, message: IncomingMessage) -> None:
        """Take note of `notifications/elicitation/complete`: nobody has to wait any longer."""
        if isinstance(message, ElicitCompleteNotification):
            completed = self._completed.get(message.params.elicitation_id)
            if completed:
                completed.set()

    async def settle(self, error: MCPError) -> bool:
        """Do what a URL_ELICITATION_REQUIRED error asks for; whether the call is worth another try."""
        try:
            wanted = ElicitationRequiredErrorData.model_validate(error.data).elicitations
        except ValidationError:
            wanted = []
        if not wanted:
            self._refuse("cancel", "The server wants the person at a page, but does not say at which")
        for params in wanted[: MOST_ADDRESSES + 1]:
            await self._respond(params)
        return not self._refusal

    async def _respond(self, params: ElicitRequestParams) -> Action:
        async with self._one_at_a_time:
            if self._refusal:
                return self._refuse(self._action, self._refusal)
            if isinstance(params, ElicitRequestFormParams):
                self._observe(Warned(f"{self._server} asks for input in a form; the agent declines those"))
                return self._refuse("decline", "The server asked for input in a form, which is declined here")
            if params.url in self._agreed:
                return await self._wait(params)
            return await self._ask(params)

    async def _ask(self, params: ElicitRequestURLParams) -> Action:
        if len(self._agreed) == MOST_ADDRESSES:
            why = f"The server wants the person at more than {MOST_ADDRESSES} addresses for one call"
            return self._refuse("cancel", why)
        if mistake := mistake_in(params.url, self._home):
            self._observe(Warned(f"{self._server} asks for an address that is not opened: {mistake}"))
            return self._refuse("decline", f"The server asked for an address that is not opened: {mistake}")
        message = one_line(params.message, _SHOWN_MESSAGE)
        self._observe(VisitRequested(self._server, params.url, message))
        with anyio.move_on_after(self._allowed - self._elapsed()):
            return await self._visit(params)
        return self._late()

    async def _visit(self, params: ElicitRequestURLParams) -> Action:
        approval, host = self._person.approval, urlsplit(params.url).hostname or ""
        way, agreed = approval.way, None
        if way != "practice user":  # who chose a practice user has agreed, and only to practice pages
            agreed = await self._person.consent(_question(way, host))
            if agreed is False:
                return self._refuse("decline", "The person did not agree to go to the page the server needs")
            way = way if agreed else "printed"
        self._observe(VisitStarted(way, host, approval.user))
        self._agreed.add(params.url)
        if params.elicitation_id:
            self._completed[params.elicitation_id] = anyio.Event()
        return await self._start(params.url, way)

    async def _start(self, url: str, way: str) -> Action:
        approval = self._person.approval
        try:
            if way == "practice user":
                from workshop.agent.form_walker import visit

                await visit(url, approval.user)
                self._allowed = min(self._allowed, self._elapsed() + AFTER_A_VISIT)
            elif way == "browser":
                await approval.start(url)
        except WorkshopError as error:
            self._observe(Warned(f"{error.what}: {error.why}"))
            return self._refuse("cancel", "Nobody could go through the page that the server needs")
        return "accept"

    async def _wait(self, params: ElicitRequestURLParams) -> Action:
        """The person is still at the page: wait a second, or less if the server announces the end."""
        remaining = self._allowed - self._elapsed()
        if remaining <= 0:
            return self._late()
        completed = self._completed.get(params.elicitation_id or "")
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
        return self._refuse("cancel", f"The person was not done within {self._allowed:.3g} seconds")

    def _refuse(self, action: Action, why: str) -> Action:
        self._action, self._refusal = action, why
        self._refusals += 1
        return action


def _question(way: str, host: str) -> str:
    return f"Open {host} in your browser?" if way == "browser" else f"Will you open it? It leads to {host}."


_SPARE_ROUNDS = 10


class AskingClient(Client):
    """The SDK's client; where a call needs the person first, it waits for them and calls again."""

    elicitation: Elicitation | None = None

    @classmethod
    def over(
        cls,
        transport: Transport,
        seconds: float,
        elicitation: Elicitation | None,
        **options: Any,  # noqa: ANN401 - the SDK's
    ) -> Self:
        """A client whose requests end within `seconds`; without `elicitation` nobody can be asked."""
        if elicitation is None:
            return cls(transport, read_timeout_seconds=seconds, **options)
        client = cls(
            _url_mode_alone(transport),
            read_timeout_seconds=seconds,
            elicitation_callback=elicitation.answer,
            message_handler=elicitation.heard,
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
        """Call a tool, as the SDK does; a person who says no or does not come is a result with `is_error`."""
        asking = self.elicitation
        if asking is None:
            return await super().call_tool(name, arguments, *more, **options)
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
    """The transport, declaring URL mode alone: the SDK (2.3.0) declares forms with it."""
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
