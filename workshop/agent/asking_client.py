"""An MCP client whose tool calls may send the person to a page, and then go on."""

import contextlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import anyio
from mcp import Client, MCPError
from mcp.client import Transport
from mcp.shared.message import SessionMessage
from mcp.types import (
    CLIENT_CAPABILITIES_META_KEY,
    URL_ELICITATION_REQUIRED,
    CallToolResult,
    JSONRPCRequest,
    TextContent,
)

from workshop.agent.elicitation import EVERY, Elicitation

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
