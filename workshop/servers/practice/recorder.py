"""Records the last requests, without a single credential: each is replaced by its kind and SHA-256."""

import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl, quote

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workshop.core.encoding import jwt_header
from workshop.servers.practice.client import RecordedRequest, fingerprint
from workshop.servers.practice.tokens import Caller
from workshop.servers.practice.web import MOST_BYTES

Verify = Callable[[str], Caller | None]

# A state and a verifier too: with them, somebody could complete another person's login.
_SECRET_PARAMETERS = {
    "access_token",
    "authenticity_token",
    "client_secret",
    "code",
    "code_verifier",
    "id_token",
    "password",
    "refresh_token",
    "state",
    "token",
}
_SECRET_HEADERS = {"cookie", "proxy-authorization", "x-api-key", "x-github-pat"}


def describe_headers(headers: Iterable[tuple[str, str]], verify: Verify) -> dict[str, Any]:
    """Headers by lower-case name, with each credential replaced by its description."""
    described: dict[str, Any] = {}
    for name, value in headers:
        if name == "authorization":
            described[name] = describe_authorization(value, verify)
        elif name in _SECRET_HEADERS:
            described[name] = {"kind": name, "sha256": fingerprint(value)}
        else:
            described[name] = f"{described[name]}, {value}" if name in described else value
    return described


def describe_authorization(value: str, verify: Verify) -> dict[str, Any]:
    """Scheme, kind, user and SHA-256 of the credential, as a dict with these keys."""
    scheme, _, credential = value.partition(" ")
    # Without a scheme, the whole value is the credential.
    credential = credential.strip() or value
    caller = verify(credential)
    return {
        "scheme": scheme if value != credential else "",
        "kind": _kind(credential),
        "user": caller.login if caller else None,
        "sha256": fingerprint(credential),
    }


def describe_parameters(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Query or form parameters, with each secret replaced by its description."""
    return {
        name: {"kind": name, "sha256": fingerprint(value)} if name in _SECRET_PARAMETERS else value
        for name, value in pairs
    }


def _kind(credential: str) -> str:
    if credential.startswith("practice_"):
        return "practice token"
    return "jwt" if "alg" in (jwt_header(credential) or {}) else "other"


MOST = 500
_MOST_OF_ALL = 20_000  # requests of all seats together: about 40 MB
_FEWEST = 20  # more than one run of part 4 sends
USER: Final = "practice.user"
"""The key in the ASGI scope for the user whom a request without a token concerns."""


class Recorder:
    """The last 500 requests, or of each seat the last ones; older ones are dropped."""

    def __init__(self, seats: int = 0) -> None:
        most = max(_FEWEST, min(MOST, _MOST_OF_ALL // seats)) if seats else MOST
        self._requests: defaultdict[str, deque[RecordedRequest]] = defaultdict(lambda: deque(maxlen=most))
        self._by_user = seats > 0
        self._number = 0

    def next_number(self) -> int:
        """The number of the request that has just arrived."""
        self._number += 1
        return self._number

    def add(self, request: RecordedRequest, user: str = "") -> None:
        """Add a request that concerns `user`, or nobody in particular."""
        self._requests[user if self._by_user else ""].append(request)

    def clear(self) -> None:
        self._requests.clear()

    def __len__(self) -> int:
        return sum(map(len, self._requests.values()))

    def as_json(self, user: str = "", fingerprints: Collection[str] = ()) -> list[dict[str, Any]]:
        """The requests of `user` in the order they arrived.

        Those of nobody are added if their credential has one of these fingerprints: only whoever has the
        credential can know it, and a proxy that passes it on by mistake must not go unnoticed.
        """
        found = list(self._requests[user])
        nobodys = self._requests[""] if user else ()
        found += [each for each in nobodys if (each.authorization or {}).get("sha256") in fingerprints]
        return [asdict(request) for request in sorted(found, key=lambda request: request.number)]


# The record is about clients of GitHub, not about those who look at the record.
_UNRECORDED: Final = ("/practice/", "/health", "/favicon.ico")
_log = logging.getLogger("workshop.servers.practice")


class Recording:
    """Records every request except those to `Control`, and logs one line for each, without query or token."""

    def __init__(self, app: ASGIApp, recorder: Recorder, verify: Verify) -> None:
        self._app = app
        self._recorder, self._verify = recorder, verify

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/" or scope["path"].startswith(_UNRECORDED):
            await self._app(scope, receive, send)
            return
        # Numbered on arrival, because requests may end in another order.
        number, arrived, started = self._recorder.next_number(), datetime.now(UTC), time.monotonic()
        body, receive = await _form_body(scope, receive)
        status: int | None = None

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                # Before the answer is sent: the client may read the record as soon as it has it.
                self._record(scope, body, number, arrived, status)
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            if status is None:
                self._record(scope, body, number, arrived, None)
            seconds = time.monotonic() - started
            # Quoted, because the decoded path may have line breaks in it.
            _log.info("%s %s %s %.3f s", scope["method"], quote(scope["path"]), status, seconds)

    def _record(self, scope: Scope, body: bytes, number: int, arrived: datetime, status: int | None) -> None:
        headers = Headers(scope=scope).items()
        self._recorder.add(
            RecordedRequest(
                number=number,
                time=arrived.isoformat(timespec="milliseconds"),
                method=scope["method"],
                path=scope["path"],
                query=describe_parameters(_pairs(scope["query_string"])),
                headers=describe_headers(headers, self._verify),
                form=describe_parameters(_pairs(body)),
                status=status,
            ),
            scope.get(USER) or _user(headers, self._verify),
        )


def _user(headers: Iterable[tuple[str, str]], verify: Verify) -> str:
    """The user of a request's token; empty for none, or for a token that is not valid here."""
    value = dict(headers).get("authorization", "")
    caller = verify(value.partition(" ")[2].strip())
    return caller.login if caller else ""


def _pairs(text: bytes) -> list[tuple[str, str]]:
    return parse_qsl(text.decode("utf-8", "replace"), keep_blank_values=True)


async def _form_body(scope: Scope, receive: Receive) -> tuple[bytes, Receive]:
    """The body of a small form, and a `receive` that yields it again."""
    headers = Headers(scope=scope)
    length = headers.get("content-length", "")
    is_form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    # An MCP request must not wait here until its body is complete.
    if not is_form or not length.isdigit() or int(length) > MOST_BYTES:
        return b"", receive
    messages: list[Message] = [await receive()]
    while messages[-1]["type"] == "http.request" and messages[-1].get("more_body"):
        messages.append(await receive())
    body = b"".join(message.get("body", b"") for message in messages)

    async def again() -> Message:
        return messages.pop(0) if messages else await receive()

    return body, again
