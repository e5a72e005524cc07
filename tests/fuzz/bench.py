"""A gateway to throw anything at, in step with synchronous properties, and what must hold of every reply."""

import asyncio
import json
import logging
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2
from aiohttp import web

from tests.servers.gateway.harness import (
    CALLBACK,
    ISSUER,
    PRACTICE_SECRET,
    Site,
    configured,
    site,
    upstream_of,
)
from workshop.auth.config import Auth

T = TypeVar("T")
MAY_FAIL = {502, 503, 504}
"""The upstream fails, the store is busy or full, the upstream is slow."""
# What an interpreter, a server or a library says when something was not thought of.
_TRACES = ("Traceback (most recent", 'File "/', "unforeseen", "Internal Server Error")
_PRACTICE_TOKEN = re.compile(r"practice_[a-z0-9-]+_[a-z2-7]+_[0-9a-f]{32}")
_SIGNED = re.compile(r"ey[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}")


_OURS = ("workshop", "aiohttp", "asyncio", "py.warnings")


class _Log(logging.Handler):
    """All that a gateway's process would log; the test's own client and the upstream log elsewhere."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(logging.Formatter().format(record))


class Bench:
    """One gateway in memory with its own event loop, all it logged, and its secrets."""

    def __init__(self, runner: asyncio.Runner, running: Site, folder: Path, log: _Log) -> None:
        self._runner = runner
        self._log = log
        self.site = running
        self.secrets = {PRACTICE_SECRET, "h" * 24, *_key_lines(folder)}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    @property
    def auth(self) -> Auth:
        assert self.site.config.auth is not None
        return self.site.config.auth

    def send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """One request of a client without cookies, and the common conditions on its answer."""
        self._log.lines.clear()
        response = self.run(self.site.http.request(method, path, **options))
        self.must_be_harmless(response)
        return response

    def browse(self, method: str, url: str, **options: Any) -> httpx2.Response:
        """One request of the person's browser, and the common conditions on its answer."""
        self._log.lines.clear()
        response = self.run(self.site.browser.request(method, url, **options))
        self.must_be_harmless(response)
        return response

    def pass_on(self, **options: Any) -> httpx2.Response:
        """One MCP request whose answer is the remote server's: only what we add to it is judged."""
        self._log.lines.clear()
        response = self.run(self.site.http.post("/mcp", **options))
        self._must_keep_quiet(response)
        return response

    def must_be_harmless(self, response: httpx2.Response) -> None:
        """No failure of ours, no trace of one, no secret, no markup of others, readable errors."""
        self._must_keep_quiet(response)
        assert response.status_code < 500 or response.status_code in MAY_FAIL, self.logged
        kind = response.headers.get("content-type", "").partition(";")[0]
        if kind == "text/html":
            must_be_our_markup(response.text)
        if kind == "application/json" and response.request.method != "HEAD":
            must_tell_its_error(response)

    def _must_keep_quiet(self, response: httpx2.Response) -> None:
        log = self.logged
        shown = f"{response.headers.multi_items()}\n{response.text}"
        assert [trace for trace in _TRACES if trace in log or trace in shown] == [], log
        assert [secret for secret in self.secrets if secret in log or secret in shown] == []
        assert not _PRACTICE_TOKEN.search(log + shown), "an upstream token shows"
        assert not _SIGNED.search(log), "an access token is in the log"
        assert all(line.isprintable() for line in self._log.lines), "a log line of others' making"

    def unlogged(self, *secrets: str) -> None:
        """None of these was logged by the last request."""
        assert [secret for secret in secrets if secret and secret in self.logged] == []

    @property
    def logged(self) -> str:
        return "\n".join(self._log.lines)


@contextmanager
def bench(folder: Path, values: Callable[[str], dict[str, Any]], *routes: web.RouteDef) -> Iterator[Bench]:
    """A gateway for as long as a module's properties are looked at.

    `values` makes its configuration out of the address of a small upstream with these routes.
    """
    log = _Log()
    loggers = [logging.getLogger(name) for name in _OURS]
    for logger in loggers:
        logger.addHandler(log)
        logger.setLevel(logging.INFO)
    try:
        with asyncio.Runner() as runner:
            stack = AsyncExitStack()
            upstream = runner.run(stack.enter_async_context(upstream_of(*routes)))
            config = configured(folder, values(upstream))
            running = runner.run(stack.enter_async_context(site(config)))
            try:
                yield Bench(runner, running, folder, log)
            finally:
                runner.run(stack.aclose())
    finally:
        for logger in loggers:
            logger.setLevel(logging.NOTSET)
            logger.removeHandler(log)


def _key_lines(folder: Path) -> list[str]:
    return [line for line in (folder / "key.pem").read_text().splitlines() if "-----" not in line]


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))


_OUR_TAGS = {
    *((tag, ()) for tag in ("head", "title", "style", "body", "main", "h1", "h2", "p", "strong")),
    *((tag, ()) for tag in ("ul", "ol", "li", "code", "footer")),
    *(("html", ("lang",)), ("meta", ("charset",)), ("meta", ("name", "content")), ("p", ("class",))),
    *(("form", ("method", "action")), ("input", ("type", "name", "value"))),
    *(("button", ("class", "name", "value")), ("button", ("name", "value"))),
}
_AT_MOST = {"form": 1, "input": 2, "button": 2, "style": 1, "meta": 2}


def must_be_our_markup(page: str) -> None:
    """Only elements of our own templates, each with its own attributes and no more often than there."""
    reader = _Tags()
    reader.feed(page)
    assert set(reader.found) <= _OUR_TAGS, set(reader.found) - _OUR_TAGS
    names = [tag for tag, _ in reader.found]
    assert all(names.count(tag) <= most for tag, most in _AT_MOST.items())


def must_tell_its_error(response: httpx2.Response) -> None:
    document = json.loads(response.content.decode("utf-8"))
    if response.status_code < 400:
        return
    error = document["error"]
    code = error["code"] if isinstance(error, Mapping) else error  # JSON-RPC has a number in an object
    assert isinstance(code, int) or re.fullmatch(r"[a-z_]+", code), document


def redirected_to(response: httpx2.Response) -> str | None:
    """Where the browser goes: scheme, host and path, or None when it stays."""
    location = response.headers.get("location")
    if location is None:
        return None
    parts = urlsplit(location)
    assert parts.fragment == ""
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def is_loopback_twin(target: str | None, registered: str = CALLBACK) -> bool:
    """The registered loopback address, whatever its port (RFC 8252 section 7.3)."""
    one, other = urlsplit(target or ""), urlsplit(registered)
    return (one.scheme, one.hostname, one.path) == (other.scheme, other.hostname, other.path)


def own_url(path: str) -> str:
    return f"{ISSUER}{path}"
