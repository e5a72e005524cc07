"""The loopback redirect URI: a small server that waits for the authorization code (RFC 8252 section 7.3)."""

import asyncio
import contextlib
import hmac
import html
import socket
from dataclasses import dataclass, replace
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from mcp.shared.auth import AuthorizationCodeResult

from workshop.core.errors import CredentialsError, PreflightError, WorkshopError
from workshop.core.hops import CODE, hop
from workshop.core.pages import PAGE_POLICY, STYLE
from workshop.core.ports import bind_loopback, free_port
from workshop.core.refusals import refusal_in
from workshop.core.text import one_line
from workshop.recorder import current

_MAX_REQUEST = 16 * 1024
_REQUEST_SECONDS = 5.0
_REQUEST_LINE_PARTS = 3


@dataclass(frozen=True)
class Page:
    """A page for the person; it never contains a text of the request."""

    status: int
    title: str
    text: str
    hop: int | None = None
    """The number of the hop that it ends, for its footer."""

    def response(self) -> bytes:
        """The page as an HTTP response without scripts, which must not be cached or framed."""
        label = f" {hop(self.hop).label}." if self.hop else ""
        body = (
            "<!doctype html><html lang=en><meta charset=utf-8>"
            "<meta name=viewport content='width=device-width'>"
            f"<title>{html.escape(self.title)}</title><style>{STYLE}</style>"
            f"<main><h1>{html.escape(self.title)}</h1><p>{html.escape(self.text)}</p></main>"
            f"<footer>MCP workshop, running on this computer.{label}</footer></html>"
        ).encode()
        head = (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            "Content-Type: text/html; charset=utf-8",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            f"Content-Security-Policy: {PAGE_POLICY}",
            "Referrer-Policy: no-referrer",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
        )
        return "\r\n".join((*head, "", "")).encode() + body


_TOO_LARGE = Page(431, "Too large", "The request is too large.")
_MALFORMED = Page(400, "Not understood", "The request is not HTTP.")
_MISDIRECTED = Page(421, "Misdirected", "This server answers only as localhost.")
_NOT_GET = Page(405, "Not allowed", "Only GET is answered here.")


async def read_request(reader: asyncio.StreamReader, port: int) -> str | Page | None:
    """The target of a GET for this server, the page that refuses anything else, or None if nothing came."""
    try:
        async with asyncio.timeout(_REQUEST_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, TimeoutError):
        # Browsers open connections in advance, on which nothing may ever come.
        return None
    except asyncio.LimitOverrunError:  # over the limit of the stream itself, 64 KiB
        return _TOO_LARGE
    return _TOO_LARGE if len(head) > _MAX_REQUEST else _judge_head(head, port)


def _judge_head(head: bytes, port: int) -> str | Page:
    # Latin-1 has a character for every byte, so decoding cannot fail.
    line, *fields = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    parts = line.split(" ")
    pairs = [
        (name.strip().lower(), value.strip().lower()) for name, _, value in (f.partition(":") for f in fields)
    ]
    named = {name for name, _ in pairs}
    if (
        len(parts) != _REQUEST_LINE_PARTS
        or not parts[2].startswith("HTTP/1.")
        or not parts[1].startswith("/")
        or {"content-length", "transfer-encoding"} <= named  # RFC 9112 section 6.3
    ):
        return _MALFORMED
    # A web page that rebinds its own name to this address would send that name (DNS rebinding).
    hosts = [value for name, value in pairs if name == "host"]
    if len(hosts) != 1 or hosts[0] not in {f"{host}:{port}" for host in ("localhost", "127.0.0.1", "[::1]")}:
        return _MISDIRECTED
    return parts[1] if parts[0] == "GET" else _NOT_GET


PATH = "/callback"
_STRAY = Page(404, "Nothing here", "This server only waits for the end of a login.")
_UNKNOWN_LOGIN = Page(
    400, "Not this login", "This link does not belong to the current login. Start again from the terminal."
)
_REFUSED = Page(
    400, "Refused", "The answer was refused; the terminal shows the reason. You can close this window."
)
_DENIED = Page(200, "Not approved", "Nothing was allowed. You can close this window.")
_FAILED = Page(
    200,
    "Not signed in",
    "The server ended the login with an error, and nobody denied it. The terminal has the details. "
    "You can close this window.",
)
_DONE = Page(200, "Approved", "Return to your terminal. You can close this window.")


@dataclass
class _Login:
    """The expected login: the values that the callback must have, and its result."""

    state: str
    issuer: str
    iss_required: bool
    result: asyncio.Future[AuthorizationCodeResult]


class LoopbackListener:
    """Listens on both loopback addresses at `/callback`, on another free port if the wanted one is taken.

    A request without the expected `state` gets an error page and changes nothing.
    """

    def __init__(self, port: int = 8765) -> None:
        self._wanted = port
        self._port = port
        self._servers: list[asyncio.Server] = []
        self._handlers: set[asyncio.Task[None]] = set()
        self._login: _Login | None = None
        self.response: AuthorizationCodeResult | None = None
        """The last one that `wait` returned."""

    @property
    def redirect_uri(self) -> str:
        """The URL to which the authorization server sends the browser back."""
        return f"http://localhost:{self._port}{PATH}"

    async def __aenter__(self) -> Self:
        self._port, sockets = _bind(self._wanted)
        self._servers = [await asyncio.start_server(self._accept, sock=sock) for sock in sockets]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.close()
        for task in self._handlers:
            task.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    def expect(self, state: str, issuer: str, *, iss_required: bool) -> None:
        """Expect the callback of one login; `iss` must equal `issuer`, and must be present if `iss_required`.

        RFC 9207 section 2.4: the two are compared as strings, also in an error answer.
        """
        future: asyncio.Future[AuthorizationCodeResult] = asyncio.get_running_loop().create_future()
        self._login = _Login(state, issuer, iss_required, future)

    async def wait(self, seconds: float) -> AuthorizationCodeResult:
        """The expected code.

        Raises CredentialsError if the person declined, WorkshopError if the answer cannot be trusted or is an
        error, and TimeoutError if none came.
        """
        if self._login is None:
            raise RuntimeError("`expect` comes before `wait`")
        try:
            async with asyncio.timeout(seconds):
                self.response = await self._login.result
                return self.response
        finally:
            self._login = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A closed asyncio server does not wait for its handlers, so they are collected here.
        task = asyncio.current_task()
        if task is not None:
            self._handlers.add(task)
            task.add_done_callback(self._handlers.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._serve(reader, writer)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader, self._port)
        if request is None:
            return
        outcome: AuthorizationCodeResult | WorkshopError | None = None
        login = self._login
        if isinstance(request, Page):
            page = request
        elif urlsplit(request).path != PATH:
            page = _STRAY
        else:
            # Blank values stay: an empty `iss` or `code` is wrong, not absent.
            page, outcome = _judge(parse_qs(urlsplit(request).query, keep_blank_values=True), login)
            page = replace(page, hop=CODE)
            if recorder := current():
                recorder.received(f"http://localhost:{self._port}{request}", page.status)
        writer.write(page.response())
        await writer.drain()
        # Only now: the caller may end the process, and the browser should have its page first.
        if login and outcome is not None and not login.result.done():
            _settle(login.result, outcome)


def _settle(
    future: asyncio.Future[AuthorizationCodeResult], outcome: AuthorizationCodeResult | WorkshopError
) -> None:
    if isinstance(outcome, WorkshopError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _judge(
    query: dict[str, list[str]], login: _Login | None
) -> tuple[Page, AuthorizationCodeResult | WorkshopError | None]:
    """Judge a callback: whether it belongs to the login, whether to trust it, and then its content."""
    # The state comes first: an answer to another login must not change this one.
    states = query.get("state", [])
    if login is None or login.result.done() or len(states) != 1 or not _same(states[0], login.state):
        return _UNKNOWN_LOGIN, None
    mistake = _mistake(query, login)
    if mistake:
        return _REFUSED, WorkshopError(
            "The answer of the authorization server cannot be trusted",
            why=mistake,
            hint="Nothing was stored. If this happens again, another server may interfere with the login",
        )
    if "error" in query:
        return _ended(query["error"][0], query.get("error_description", [""])[0])
    code, iss = query["code"][0], query.get("iss", [None])[0]
    return _DONE, AuthorizationCodeResult(code=code, state=login.state, iss=iss)


def _mistake(query: dict[str, list[str]], login: _Login) -> str:
    # A parameter must not be repeated (RFC 6749 section 3.1): programs differ in which one they read.
    repeated = [name for name in ("code", "error", "iss") if len(query.get(name, [])) > 1]
    if repeated:
        return f"It contains more than one `{repeated[0]}`"
    issuers = query.get("iss", [])
    if issuers and not _same(issuers[0], login.issuer):
        return (
            f"Its `iss` is {one_line(issuers[0], 200)!r}, but the login went to {login.issuer!r} (RFC 9207)"
        )
    if login.iss_required and not issuers:
        return f"It has no `iss`, although {login.issuer!r} promises one (RFC 9207)"
    if "error" not in query and not query.get("code", [""])[0]:
        return "It contains neither a code nor an error"
    return ""


def _ended(error: str, description: str) -> tuple[Page, WorkshopError]:
    """The page and the error for an answer without a code; the page shows only texts of our own."""
    if error == "access_denied":
        return _DENIED, CredentialsError(
            "The login was not approved",
            why="The authorization server reported `access_denied`",
            hint="Run the part again and approve it in the browser",
        )
    if refusal := refusal_in(description):
        page = Page(200, "Not signed in", f"{refusal.sentence}. {refusal.remedy}. You can close this window.")
        why = f"The authorization server reported `{one_line(error, 80)}`: {refusal.code}"
        return page, WorkshopError(refusal.meaning, why=why, hint=refusal.remedy)
    reported = f"`{one_line(error, 80)}`" + (f": {one_line(description, 200)}" if description else "")
    return _FAILED, WorkshopError(
        "The authorization server ended the login with an error",
        why=f"It reported {reported}",
        hint="Run the part again; `workshop logs` shows what the server wrote",
    )


def _same(given: str, awaited: str) -> bool:
    # In constant time: any program on this machine may send guesses and measure.
    return hmac.compare_digest(given.encode(), awaited.encode())


def _bind(wanted: int) -> tuple[int, list[socket.socket]]:
    # Another program may take a free port before it is bound here, so there are two of them.
    for port in (wanted, free_port(), free_port()):
        with contextlib.suppress(PreflightError):
            return port, bind_loopback(port)
    raise PreflightError(
        "No loopback port is free for the login's callback", why=f"Tried {wanted} and two others"
    )
