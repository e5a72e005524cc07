"""What every request passes: the Host check, then the recorder and the log."""

import logging
import time
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workshop.servers.practice.bodies import MOST_BYTES
from workshop.servers.practice.credentials import describe_headers, describe_parameters
from workshop.servers.practice.recorder import RecordedRequest
from workshop.servers.practice.state import PracticeState

_LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}
_OWN: Final = ("/practice/", "/health", "/favicon.ico")
_log = logging.getLogger("workshop.servers.practice")


class OwnHost:
    """Answers 421 to a Host that is not this computer's: a page that rebinds its name gets nothing.

    In a cluster `service_host` is ours too, for it means this pod to every other one.
    """

    def __init__(self, app: ASGIApp, service_host: str = "") -> None:
        self._app = app
        self._hosts = (_LOOPBACK | {service_host}) - {""}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._is_own(Headers(scope=scope).get("host", "")):
            await self._app(scope, receive, send)
            return
        refusal = PlainTextResponse("The practice GitHub answers to localhost only.\n", status_code=421)
        await refusal(scope, receive, send)

    def _is_own(self, host: str) -> bool:
        try:
            return urlsplit(f"//{host}").hostname in self._hosts
        except ValueError:
            return False


class Recording:
    """Records every request but those to its own endpoints, and logs a line for each: no query, no token."""

    def __init__(self, app: ASGIApp, state: PracticeState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/" or scope["path"].startswith(_OWN):
            await self._app(scope, receive, send)
            return
        number, arrived, started = self._state.recorder.next_number(), datetime.now(UTC), time.monotonic()
        body, receive = await _form_body(scope, receive)
        status: int | None = None

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._record(scope, body, number, arrived, status)
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            if status is None:
                self._record(scope, body, number, arrived, None)
            seconds = time.monotonic() - started
            _log.info("%s %s %s %.3f s", scope["method"], quote(scope["path"]), status, seconds)

    def _record(self, scope: Scope, body: bytes, number: int, arrived: datetime, status: int | None) -> None:
        headers = Headers(scope=scope).items()
        self._state.recorder.add(
            RecordedRequest(
                number=number,
                time=arrived.isoformat(timespec="milliseconds"),
                method=scope["method"],
                path=scope["path"],
                query=describe_parameters(_pairs(scope["query_string"])),
                headers=describe_headers(headers, self._state.tokens.verify),
                form=describe_parameters(_pairs(body)),
                status=status,
            )
        )


def _pairs(text: bytes) -> list[tuple[str, str]]:
    return parse_qsl(text.decode("utf-8", "replace"), keep_blank_values=True)


async def _form_body(scope: Scope, receive: Receive) -> tuple[bytes, Receive]:
    """The body of a small form, and a `receive` that yields it again."""
    headers = Headers(scope=scope)
    length = headers.get("content-length", "")
    is_form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    if not is_form or not length.isdigit() or int(length) > MOST_BYTES:
        return b"", receive
    messages: list[Message] = [await receive()]
    while messages[-1]["type"] == "http.request" and messages[-1].get("more_body"):
        messages.append(await receive())
    body = b"".join(message.get("body", b"") for message in messages)

    async def again() -> Message:
        return messages.pop(0) if messages else await receive()

    return body, again
