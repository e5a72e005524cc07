"""A variation's server as a service: its configuration file, its health, its logs and its metrics.

The metrics are in Prometheus' text format; a label is never a secret, nor the name of a person.
"""

import argparse
import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Literal, NoReturn, TypeVar
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workshop.auth import Url, caller_of
from workshop.core.crash import run_program
from workshop.core.files import read_object, validated
from workshop.core.mistakes import Port, VisibleText
from workshop.core.serving import LastResort, log_to_stderr, serve, unforeseen


def _beside_the_file(path: Path, info: ValidationInfo) -> Path:
    return Path((info.context or {}).get("folder", "")) / path


FilePath = Annotated[Path, AfterValidator(_beside_the_file)]
"""A path in a configuration file, relative to the folder of that file."""


def _without_path(url: str) -> str:
    if urlsplit(url).path.strip("/") or urlsplit(url).query:
        raise ValueError("must be a scheme and a host, without a path")
    return url.rstrip("/")


class Listening(BaseModel):
    """The keys of every server's file: where it listens, and what it reports about itself.

    `host` is loopback, `0.0.0.0` for all addresses, or one address of this machine. With `metrics_port`,
    `/metrics` answers on that port, and on no other: what a TLS proxy forwards never has it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: VisibleText = "localhost"
    port: Port = 8000
    metrics_port: Port | None = None
    log: Literal["text", "json"] = "text"


class Service(Listening):
    """The keys of a server that knows its public address: `url`, as clients write it, without a path."""

    url: Annotated[Url, AfterValidator(_without_path)]


_SESSION = ("sid", "auth_time", "iat")
_MOST_KNOWN = 10_000
Settings = TypeVar("Settings", bound=Service)
DESCRIBED = "*Use it for real* in the README of the variation describes every key"


def load(model: type[Settings], path: Path) -> Settings:
    """The configuration in a TOML or JSON file; raises UsageError for the first mistake in it."""
    return validated(model, read_object(path), path, DESCRIBED)


def main(
    model: type[Settings],
    create_app: Callable[[Settings, Path], ASGIApp],
    arguments: Sequence[str] | None = None,
) -> NoReturn:
    """Serve the app that `create_app` makes of the `--config` file, until SIGTERM; exits the process.

    `create_app` gets the settings and the path of their file. The exit codes are those of
    `workshop.core.errors`.
    """
    parser = argparse.ArgumentParser(description="Serve until SIGTERM.")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="TOML, or JSON")
    path: Path = parser.parse_args(arguments).config

    def act() -> None:
        settings = load(model, path)
        run(lambda: create_app(settings, path), settings, url=settings.url, while_exists=path)

    sys.exit(run_program(act))


def run(
    create_app: Callable[[], ASGIApp], settings: Listening, *, url: str | None, while_exists: Path
) -> None:
    """Serve an app with the logs, health and metrics of `settings`, until SIGTERM; `url` is its address."""
    log_to_stderr(JsonLines() if settings.log == "json" else None)  # before the MCP SDK does
    ports = _count_on(settings.metrics_port)
    app: ASGIApp = AnyHostForHealth(LastResort(create_app(), log_requests=True), url)
    if _metrics is not None:
        app = _metrics.counting(app)
    serve(app, port=settings.port, while_exists=while_exists, host=settings.host, more_ports=ports)


class JsonLines(logging.Formatter):
    """One JSON object per line; that of a request has its method, path, status and milliseconds."""

    def format(self, record: logging.LogRecord) -> str:
        """Log an exception by its type and place only, because its text may quote a client."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "request", {}),
        }
        if record.exc_info and record.exc_info[1]:
            line["exception"] = unforeseen(record.exc_info[1])
        return json.dumps(line)


class AnyHostForHealth:
    """Lets `/health` answer under any host name: the probes of a cluster use the address of a pod."""

    def __init__(self, app: ASGIApp, url: str | None) -> None:
        self._app = app
        self._host = urlsplit(url).netloc.encode() if url else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/health" and self._host:
            others = [pair for pair in scope["headers"] if pair[0] not in {b"host", b"origin"}]
            scope = {**scope, "headers": [(b"host", self._host), *others]}
        await self._app(scope, receive, send)


_metrics: "Metrics | None" = None


def _count_on(port: int | None) -> tuple[int, ...]:
    """Start counting if `port` is set; returns the ports that serve the metrics."""
    global _metrics  # noqa: PLW0603 - a process is one service
    if port is None:
        return ()
    _metrics = Metrics(port)
    return (port,)


def count_login(outcome: str = "allowed") -> None:
    """Count a login, by its outcome: `allowed`, `denied` or `failed`."""
    if _metrics is not None:
        _metrics.logins.labels(outcome).inc()


class CountedLogins:
    """Counts the logins behind a BearerGuard: one for each session of a person at the identity provider.

    A session is `sid` of the token, or the moment of the login (`auth_time`), or else that of the token.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        # A dict, because its first key is the oldest.
        self._known: dict[int, None] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _metrics is not None and scope["type"] == "http":
            caller = caller_of(scope)
            session = next((caller.claims[name] for name in _SESSION if name in caller.claims), "")
            self._count(hash((caller.subject, str(session))))
        await self._app(scope, receive, send)

    def _count(self, login: int) -> None:
        if login not in self._known:
            count_login()
            self._known[login] = None
            if len(self._known) > _MOST_KNOWN:
                del self._known[next(iter(self._known))]


def count_refusal(reason: str) -> None:
    """Count a refusal that no HTTP status shows, such as a tool's error; `reason` is one of few texts."""
    if _metrics is not None:
        _metrics.refusals.labels(reason).inc()


@contextmanager
def timed_upstream(name: str) -> Iterator[None]:
    """Measure how long an upstream takes to answer, or to fail; `name` is as in the configuration."""
    started = time.perf_counter()
    try:
        yield
    finally:
        if _metrics is not None:
            _metrics.upstream.labels(name).observe(time.perf_counter() - started)


# Each value of a label is a time series: strangers must not be able to add any.
_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS"})
_PATHS = frozenset(
    {".well-known", "health", "mcp", "sse", "messages", "oauth", "auth", "register", "token", "revoke"}
    | {"callback", "connect", "signed-in", "control"}
)
_CODE = re.compile(r'\berror="([^"]*)"')
# RFC 6749, 6750, 7591, 8707, and our own; whatever else a body may hold is counted by its status.
_REASONS = frozenset(
    {"invalid_request", "invalid_client", "invalid_grant", "invalid_token", "invalid_target", "invalid_scope"}
    | {"invalid_redirect_uri", "invalid_client_metadata", "insufficient_scope", "unauthorized_client"}
    | {"unsupported_grant_type", "unsupported_response_type", "access_denied", "server_error"}
    | {"temporarily_unavailable", "misdirected_request", "forbidden_origin", "not_found"}
    | {"method_not_allowed", "unauthorized", "forbidden", "bad_request"}
)
_MOST_BYTES = 4096


class Metrics:
    """The counters of this process, and the answer at `/metrics` of `port`; one for each process."""

    def __init__(self, port: int) -> None:
        from prometheus_client import Counter, Histogram  # a quarter of a second, so only where it is needed

        self._port = port
        self.requests = Counter(
            "workshop_requests", "Requests, by their method, path and status", ("method", "path", "status")
        )
        self.refusals = Counter("workshop_refusals", "Requests that were refused, by reason", ("reason",))
        self.upstream = Histogram(
            "workshop_upstream_seconds", "How long an upstream took to answer", ("upstream",)
        )
        self.logins = Counter("workshop_logins", "Logins, by outcome", ("outcome",))

    def counting(self, app: ASGIApp) -> ASGIApp:
        """`app`, with every request counted, and `/metrics` on its own port."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
            # The port of the socket; a client could put any port into the Host header.
            elif (scope.get("server") or ("", None))[1] == self._port:
                await self._report(scope["path"])(scope, receive, send)
            else:
                answer = _Answer(send)
                try:
                    await app(scope, receive, answer.send)
                finally:
                    self._count(scope, answer)

        return counted

    def _report(self, path: str) -> Response:
        if path != "/metrics":
            return PlainTextResponse("Only /metrics is here", HTTPStatus.NOT_FOUND)
        from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

        return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)

    def _count(self, scope: Scope, answer: "_Answer") -> None:
        first = scope["path"].split("/", 2)[1:2]
        path = f"/{first[0]}" if first and first[0] in _PATHS else "other"
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.requests.labels(method, path, str(answer.status or "none")).inc()
        if answer.reason:
            self.refusals.labels(answer.reason).inc()


class _Answer:
    """An answer on its way: its status, and why it refuses the request, or "" if it does not."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._headers: dict[bytes, bytes] = {}
        self.status = 0
        self.reason = ""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._headers = {name.lower(): value for name, value in message.get("headers", ())}
            self.reason = _known(_redirected(self._headers.get(b"location", b"")))
        elif self.status >= HTTPStatus.BAD_REQUEST and not self.reason:
            self.reason = self._refusal(message.get("body", b""))
        await self._send(message)

    def _refusal(self, body: bytes) -> str:
        challenge = self._headers.get(b"www-authenticate", b"").decode("latin-1")
        found = _known([*_CODE.findall(challenge), *(_code_in(body) if not challenge else ())])
        # Without an error code, the client sent no token (RFC 6750 section 3.1).
        if not found and challenge:
            return "no_token"
        return found or f"http_{self.status}"


def _redirected(location: bytes) -> list[str]:
    """The `error` that a redirect reports to a client (RFC 6749 section 4.1.2.1)."""
    query = urlsplit(location.decode("latin-1")).query if b"error=" in location else ""
    return parse_qs(query).get("error", [])


def _code_in(body: bytes) -> list[str]:
    """The `error` of a JSON body (RFC 6749 section 5.2)."""
    try:
        document = json.loads(body) if len(body) <= _MOST_BYTES else None
    except (ValueError, RecursionError):
        return []
    code = document.get("error") if isinstance(document, dict) else None
    return [code.lower().replace(" ", "_")] if isinstance(code, str) else []


def _known(codes: Iterable[str]) -> str:
    return next((code for code in codes if code in _REASONS), "")
