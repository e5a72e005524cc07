"""A variation's server as a service: its configuration file, its health, its logs and its metrics."""

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo
from starlette.types import ASGIApp, Receive, Scope, Send

from workshop.auth import Url, caller_of
from workshop.core.crash import run_program
from workshop.core.files import read_object, validated
from workshop.core.serving import LastResort, log_to_stderr, serve, unforeseen

if TYPE_CHECKING:
    from workshop.servers.variation.metrics import Metrics

Port = Annotated[int, Field(ge=1, le=65535, strict=True)]


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

    host: Annotated[str, Field(pattern=r"\S")] = "localhost"
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
    """One JSON object a line; that of a request has its method, path, status and milliseconds as members."""

    def format(self, record: logging.LogRecord) -> str:
        """Of an exception, its kind and place: its text may quote a client."""
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
    """Begin to count, if metrics are wanted on a port; returns the ports to serve them on."""
    global _metrics  # noqa: PLW0603 - a process is one service
    if port is None:
        return ()
    from workshop.servers.variation.metrics import Metrics  # its library takes a quarter of a second

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
