"""Serve an ASGI application until SIGTERM: on both loopback addresses, or in a pod on all addresses.

A response leaves in one write. uvicorn writes status line, body and end separately; on loopback each write
wakes the reader, which is a large part of the cost of a small response.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import h11
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from workshop.core.crash import run_program
from workshop.core.errors import UsageError
from workshop.core.files import read_object
from workshop.core.ports import bind_at

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


_LOG = logging.getLogger(__name__)
_NOFILE = 1024  # where the system does not report its limit of descriptors
_LARGEST = 1000


def most_connections() -> int:
    """How many connections fit below the limit of descriptors, with one more to an upstream for each."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if resource else _NOFILE
    # Half for connections to an upstream, and 20 for files, logs and the listeners themselves.
    return min(limit // 2 - 20, _LARGEST) if limit > 0 else _LARGEST


class HeadDeadline:
    """A deadline for the head of a request, which uvicorn's protocols lack.

    A connection beyond the limit ends at once. Mixed into a protocol, which calls `await_head` and
    `head_ended`.
    """

    head_seconds = 30.0
    most = most_connections()
    loop: asyncio.AbstractEventLoop
    connections: set[Any]
    transport: asyncio.Transport
    _late: asyncio.TimerHandle | None = None

    def limit_connections(self) -> None:
        """Begin to wait for a head, unless there are too many connections."""
        if len(self.connections) > self.most:
            once_a_second.warn(_LOG, f"more than {self.most} connections: a new one is closed")
            self.transport.close()
        else:
            self.await_head()

    def await_head(self) -> None:
        """The head must end within `head_seconds` of the first call."""
        # Not renewed by further bytes, or a client that sends one now and then would stay for ever.
        if self._late is None:
            self._late = self.loop.call_later(self.head_seconds, self._close)

    def head_ended(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close(self) -> None:
        self._late = None
        self.transport.close()


class CoalescingProtocol(HeadDeadline, H11Protocol):
    """uvicorn's HTTP/1.1 protocol; everything written in one turn of the event loop leaves together."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(CoalescedTransport(transport, self.loop))
        self.limit_connections()

    def connection_lost(self, exc: Exception | None) -> None:
        self.head_ended()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # h11 stays idle until the head is complete.
        if self.conn.their_state is h11.IDLE:
            self.await_head()
        else:
            self.head_ended()


class OnceASecond:
    """Warnings that a flood of connections would repeat thousands of times a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = float("-inf")

    def warn(self, log: logging.Logger, text: str) -> None:
        if (now := self._clock()) - self._last >= 1:
            self._last = now
            log.warning(text)


once_a_second = OnceASecond()


class CoalescedTransport(asyncio.Transport):
    """The part of a transport that uvicorn uses; writes are held until the next turn of the event loop."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.transport = transport
        self._loop = loop
        self._waiting: list[bytes | bytearray | memoryview] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not data:
            return
        if not self._waiting:
            self._loop.call_soon(self.flush)
        self._waiting.append(data)

    def close(self) -> None:
        self.flush()
        self.transport.close()

    def flush(self) -> None:
        """Write everything that is held."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self.transport.write(b"".join(waiting))

    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def pause_reading(self) -> None:
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        self.transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as asyncio declares it
        return self.transport.get_extra_info(name, default)


class UnavailableError(Exception):
    """Something that the server needs cannot be used now: answered with 503 and this description."""

    description = "The server cannot answer now"


class LastResort:
    """Wraps an application: refuses ambiguous framing, answers unforeseen errors, and may log requests.

    With both `Content-Length` and `Transfer-Encoding` (RFC 9112 section 6.3), a proxy in front may have used
    the other one: 400. An exception: 500, one line in the log. Both end the connection. The log of requests
    has method, path, status and milliseconds of each; never a query, a header or a body.
    """

    def __init__(self, app: ASGIApp, *, log_requests: bool = False) -> None:
        self._app = app
        self._log_requests = log_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        names = {name for name, _ in scope["headers"]}
        if b"transfer-encoding" in names and b"content-length" in names:
            await _refuse(send, 400, "invalid_request", _BOTH_LENGTHS)
            return
        status, started = 0, time.perf_counter()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:  # noqa: BLE001 - the last line of defence; the server must go on
            _LOG.error(unforeseen(error))
            if status == 0:
                await _answer_failure(sending, error)
            # Otherwise the answer stays unfinished, which makes uvicorn close the connection.
        finally:
            if self._log_requests:
                _log_request(scope, status, time.perf_counter() - started)


_BOTH_LENGTHS = "Content-Length and Transfer-Encoding exclude each other"
SERVER_ERROR = ("server_error", "Something went wrong here")
"""The `error` and the `error_description` for an unforeseen error."""
_MOST_FRAMES = 6
_REQUESTS = logging.getLogger("workshop.gateway.requests")
_LONGEST_PATH = 200


def _log_request(scope: Scope, status: int, seconds: float) -> None:
    # Quoted, because the path is the client's: a line break in it would forge a line of the log.
    path = quote(scope["path"][:_LONGEST_PATH], safe="/-._~:")
    milliseconds = seconds * 1000
    request = {"method": scope["method"], "path": path, "status": status, "ms": round(milliseconds)}
    line = (scope["method"], path, status or "-", milliseconds)
    _REQUESTS.info("%s %s %s %.0f ms", *line, extra={"request": request})


def unforeseen(error: BaseException) -> str:
    """A line for the log: what kind of error and where, without its text, which may quote a client."""
    frames = traceback.extract_tb(error.__traceback__)[-_MOST_FRAMES:]
    where = " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    return f"unforeseen {type(error).__name__} at {where}"


async def _answer_failure(send: Send, error: Exception) -> None:
    if isinstance(error, UnavailableError):
        await _refuse(send, 503, "temporarily_unavailable", error.description, close=False)
    else:
        await _refuse(send, 500, *SERVER_ERROR)


async def _refuse(send: Send, status: int, error: str, description: str, *, close: bool = True) -> None:
    body = json.dumps({"error": error, "error_description": description}, separators=(",", ":")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    headers += [(b"cache-control", b"no-store"), (b"pragma", b"no-cache")]
    headers += [(b"x-content-type-options", b"nosniff"), *([(b"connection", b"close")] if close else [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


CreateApp = Callable[[Mapping[str, Any]], ASGIApp]
_POLL_SECONDS = 2.0
_STARTING_SECONDS = 0.02
_BACKLOG = 128


def main(create_app: CreateApp, arguments: Sequence[str] | None = None) -> NoReturn:
    """Serve the app that `create_app` builds from the `--config` file, on its `port`; exits the process.

    The exit codes are those of `workshop.core.errors`.
    """
    parser = argparse.ArgumentParser(description="Serve on this machine until SIGTERM.")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="JSON, with a `port`")
    path: Path = parser.parse_args(arguments).config

    def act() -> None:
        config = read_config(path)
        log_to_stderr()  # before the MCP SDK's server does, which would drop our lines
        serve(create_app(config), port=config["port"], while_exists=path)

    sys.exit(run_program(act))


class _Lines(logging.Formatter):
    """A line with its time, which is put into words once a second: that takes longer than the rest."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self._second, self._words = -1, ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        del datefmt
        if (second := int(record.created)) != self._second:
            self._second, self._words = (
                second,
                time.strftime(self.default_time_format, time.localtime(second)),
            )
        return f"{self._words},{int(record.msecs):03d}"


def log_to_stderr(formatter: logging.Formatter | None = None) -> None:
    """Log to stderr, each line with its time or as `formatter` writes it; a second call changes nothing."""
    # No line shows these, so they need not be looked up (docs.python.org, logging howto, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - as that page does
    handler = logging.StreamHandler()
    handler.setFormatter(formatter or _Lines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def read_config(path: Path) -> dict[str, Any]:
    """The JSON object in a server's configuration file; raises UsageError for other content or no port."""
    config = read_object(path)
    if type(config.get("port")) is not int:  # not `isinstance`: True is an int, too
        raise UsageError(f"`port` in `{path}` is missing")
    return config


def serve(
    app: ASGIApp,
    *,
    port: int,
    while_exists: Path,
    host: str = "localhost",
    more_ports: Sequence[int] = (),
    http: type[asyncio.Protocol] = CoalescingProtocol,
    loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
    once_started: Callable[[], object] | None = None,
) -> None:
    """Serve `app` on `port` of `host` (see `bind_at`), until SIGTERM or until `while_exists` is gone.

    A workload therefore stops when its state directory is deleted by hand. On `more_ports`, the same
    application answers; its scope shows the port. `loop` makes the event loop, if not asyncio. `once_started`
    runs in a thread as soon as the ports answer.
    """
    log_to_stderr()
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    server = uvicorn.Server(server_config(app, http))
    sockets = [bound for each in (port, *more_ports) for bound in bind_at(host, each)]
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(_serve(server, sockets, while_exists, once_started))


def server_config(app: ASGIApp, http: type[asyncio.Protocol] = CoalescingProtocol) -> uvicorn.Config:
    """The uvicorn settings of each of our servers; uvicorn configures no logging."""
    return uvicorn.Config(
        app if isinstance(app, LastResort) else LastResort(app),
        # uvicorn's own configuration would write its lines in a form of their own.
        log_config=None,
        http=http,
        ws="none",
        proxy_headers=False,  # no trusted proxy in front
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,  # an event stream ends by itself only when its client leaves
        backlog=_BACKLOG,
        h11_max_incomplete_event_size=64 * 1024,
    )


def _is_news(record: logging.LogRecord) -> bool:
    # Whoever leaves an answer unfinished has said why.
    return not record.getMessage().startswith("ASGI callable returned without completing")


def _loop_failure(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log a failure of the event loop; at the limit of descriptors, asyncio repeats one for each client."""
    message, error = str(context.get("message", "")), context.get("exception")
    if message.startswith("socket.accept()"):
        once_a_second.warn(_LOG, f"no connection can be accepted: {error}")
    # asyncio tries again a second later, also where the server has ended and its sockets are closed.
    elif not (isinstance(error, ValueError) and "._start_serving(" in message):
        loop.default_exception_handler(context)


async def _serve(
    server: uvicorn.Server,
    sockets: list[socket.socket],
    path: Path,
    once_started: Callable[[], object] | None,
) -> None:
    asyncio.get_running_loop().set_exception_handler(_loop_failure)
    watch = asyncio.create_task(_watch(server, path, once_started))
    try:
        await server.serve(sockets=sockets)
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


async def _watch(server: uvicorn.Server, path: Path, once_started: Callable[[], object] | None) -> None:
    """Call `once_started`, then wait until `path` is gone, and stop the server."""
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(_STARTING_SECONDS)
    if once_started is not None:
        await asyncio.to_thread(once_started)
    while path.exists():  # noqa: ASYNC110, ASYNC240 - a cheap stat; no event reports an unlink
        await asyncio.sleep(_POLL_SECONDS)
    server.should_exit = True
