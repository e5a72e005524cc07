"""A server of ours, as a process: what it does with heads that never end, ambiguous lengths and failures."""

import asyncio
import json
import logging
import re
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from tests.environment import forked
from tests.fork_server import ForkedProcess
from workshop.core.ports import free_port
from workshop.core.serving import LastResort, OnceASecond, UnavailableError

DEADLINE = 60
SERVER = """
import asyncio.constants
import resource
import sys
from pathlib import Path
from workshop.core.serving import CoalescingProtocol, serve
from workshop.servers.gateway.http_protocol import StrictProtocol

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"] == "/broken":
        raise KeyError("words of a client")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    if scope["path"] == "/broken-later":
        await send({"type": "http.response.body", "body": b"o", "more_body": True})
        raise KeyError("words of a client")
    await send({"type": "http.response.body", "body": b"ok"})

class Impatient({"h11": CoalescingProtocol, "httptools": StrictProtocol}[sys.argv[3]]):
    head_seconds = float(sys.argv[4])
    most = int(sys.argv[5])

if sys.argv[6:]:
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[6]),) * 2)
    asyncio.constants.ACCEPT_RETRY_DELAY = float(sys.argv[7])
serve(app, port=int(sys.argv[1]), while_exists=Path(sys.argv[2]), http=Impatient)
"""
IMPORTS = ("workshop.core.serving", "workshop.servers.gateway.http_protocol")


@dataclass
class Served:
    """A process that serves, and what it has logged."""

    port: int
    process: ForkedProcess
    log: list[str] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def answer(self, request: str) -> bytes:
        """All that comes back until the server closes the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request.replace("HOST", f"Host: localhost:{self.port}").encode())
        try:
            return await asyncio.wait_for(reader.read(), DEADLINE)
        finally:
            writer.close()

    async def serves(self) -> bool:
        try:
            return b" 200 " in await self.answer("GET / HTTP/1.1\r\nHOST\r\nConnection: close\r\n\r\n")
        except ConnectionError:
            return False

    async def serves_again(self) -> None:
        """Wait until a request is answered."""
        async with asyncio.timeout(DEADLINE):
            while not await self.serves():
                pass

    async def follow(self) -> None:
        """Read the log until the process ends."""
        assert self.process.stderr is not None
        while line := await asyncio.to_thread(self.process.stderr.readline):
            async with self.news:
                self.log.append(line.rstrip())
                self.news.notify_all()

    async def until(self, text: str) -> None:
        async with asyncio.timeout(DEADLINE), self.news:
            await self.news.wait_for(lambda: any(text in line for line in self.log))

    @property
    def troubles(self) -> list[str]:
        return [line for line in self.log if " INFO " not in line]


@asynccontextmanager
async def served(
    folder: Path,
    http: str,
    *,
    seconds: float = 30,
    most: int = 1000,
    descriptors: int = 0,
    retry_seconds: float = 1,
) -> AsyncIterator[Served]:
    (folder / "server.py").write_text(SERVER)
    (folder / "runs").touch()
    port = free_port()
    words = (
        port,
        folder / "runs",
        http,
        seconds,
        most,
        *([descriptors, retry_seconds] if descriptors else []),
    )
    with forked(str(folder / "server.py"), *map(str, words), folder=folder, imports=IMPORTS) as process:
        server = Served(port, process)
        following = asyncio.create_task(server.follow())
        try:
            await server.until("startup complete")
            yield server
        finally:
            process.terminate()
            await following
            process.wait()


HTTP = pytest.mark.parametrize("http", ["h11", "httptools"])
BOTH = "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHOST\r\n\r\n"


@HTTP
async def test_two_lengths_of_one_body_are_refused_and_the_connection_ends(tmp_path: Path, http: str) -> None:
    async with served(tmp_path, http) as server:
        answer = await server.answer(f"POST / HTTP/1.1\r\nHOST\r\n{BOTH}")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


@HTTP
async def test_what_nobody_foresaw_is_a_500_a_line_in_the_log_and_the_end_of_the_connection(
    tmp_path: Path, http: str
) -> None:
    async with served(tmp_path, http) as server:
        answer = await server.answer("GET /broken HTTP/1.1\r\nHOST\r\n\r\nGET / HTTP/1.1\r\nHOST\r\n\r\n")
        await server.until("unforeseen")
    (line,) = server.troubles
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.endswith(b'{"error":"server_error","error_description":"Something went wrong here"}')
    assert " ERROR workshop.core.serving unforeseen KeyError at " in line
    assert line.endswith(" app")
    assert "words of a client" not in line


@HTTP
async def test_what_fails_in_the_middle_of_an_answer_ends_the_connection(tmp_path: Path, http: str) -> None:
    async with served(tmp_path, http) as server:
        answer = await server.answer("GET /broken-later HTTP/1.1\r\nHOST\r\n\r\n")
        await server.until("unforeseen")
    (line,) = server.troubles
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\no")
    assert "unforeseen KeyError" in line


async def half_open(
    port: int, count: int, head: bytes
) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    for _, writer in pairs:
        writer.write(head)
    return pairs


async def all_gone(pairs: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> None:
    async def gone(reader: asyncio.StreamReader) -> None:
        try:
            await reader.read()
        except ConnectionError:
            return

    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(*(gone(reader) for reader, _ in pairs))
    for _, writer in pairs:
        writer.close()


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip("this machine allows fewer than 4,096 open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@HTTP
@pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\nX-Slow: "])
async def test_eight_hundred_heads_that_never_end_are_gone_at_the_deadline(
    tmp_path: Path, http: str, head: bytes, many_descriptors: None
) -> None:
    async with served(tmp_path, http, seconds=1) as server:
        await all_gone(await half_open(server.port, 800, head))
        assert await server.serves()
    assert server.troubles == []


@HTTP
async def test_a_head_that_comes_in_pieces_is_in_time_and_the_next_one_has_its_own_deadline(
    tmp_path: Path, http: str
) -> None:
    async with served(tmp_path, http, seconds=3) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        request = f"GET / HTTP/1.1\r\nHost: localhost:{server.port}\r\n\r\n".encode()
        writer.write(request[:9])
        await writer.drain()
        writer.write(request[9:])
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
        writer.write(request[:9])
        assert await asyncio.wait_for(reader.read(), DEADLINE) == b""
        writer.close()


@HTTP
async def test_connections_beyond_the_limit_end_at_once_and_the_log_stays_small(
    tmp_path: Path, http: str
) -> None:
    async with served(tmp_path, http, most=5) as server:
        inside = await half_open(server.port, 5, b"GET / HT")
        await all_gone(await half_open(server.port, 300, b"GET / HT"))
        await server.until("more than 5 connections")
        for _, writer in inside:
            writer.close()
        await server.serves_again()
    assert all("more than 5 connections" in line for line in server.troubles)
    assert len(server.troubles) <= 30


async def test_at_the_limit_of_descriptors_the_log_stays_small(tmp_path: Path) -> None:
    async with served(tmp_path, "h11", descriptors=64) as server:
        pairs = await half_open(server.port, 100, b"GET / HT")
        await server.until("no connection can be accepted")
        for _, writer in pairs:
            writer.close()
        await server.serves_again()
    assert [line for line in server.troubles if "no connection can be accepted" not in line] == []
    assert len(server.troubles) <= 30


async def test_a_server_that_ends_at_the_limit_of_descriptors_logs_nothing_more(tmp_path: Path) -> None:
    """It is to accept again in a moment, when its sockets are closed already."""
    async with served(tmp_path, "h11", descriptors=64, retry_seconds=0.02) as server:
        pairs = await half_open(server.port, 100, b"GET / HT")
        await server.until("no connection can be accepted")
    assert [line for line in server.troubles if "no connection can be accepted" not in line] == []
    for _, writer in pairs:
        writer.close()


def test_a_repeated_warning_is_logged_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    warnings = OnceASecond(lambda: now)
    for now in (100.0, 100.5, 100.99, 101.0, 101.5, 102.0):
        warnings.warn(logging.getLogger("test"), f"at {now:g}")
    assert caplog.messages == ["at 100", "at 101", "at 102"]


def test_the_limit_leaves_room_for_as_many_connections_upstream() -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256));"
    shown = "from workshop.core.serving import most_connections; print(most_connections())"
    done = subprocess.run([sys.executable, "-c", limit + shown], capture_output=True, text=True, check=True)
    assert done.stdout == "108\n"


class _GoneError(UnavailableError):
    description = "The shelf cannot be used now"


async def _answered(error: Exception) -> list[MutableMapping[str, Any]]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive, send
        raise error

    sent: list[MutableMapping[str, Any]] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError

    scope = {"type": "http", "method": "GET", "path": "/a b", "headers": [], "query_string": b"secret=1"}
    await LastResort(app, log_requests=True)(scope, receive, send)
    return sent


async def test_what_cannot_be_used_now_is_a_503_in_its_words_and_each_request_is_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        start, body = await _answered(_GoneError("SQLITE_FULL"))
    assert start["status"] == 503
    assert (b"connection", b"close") not in start["headers"]
    assert json.loads(body["body"]) == {
        "error": "temporarily_unavailable",
        "error_description": "The shelf cannot be used now",
    }
    failed, line = caplog.records
    assert failed.getMessage().startswith("unforeseen _GoneError at ")
    assert re.fullmatch(r"GET /a%20b 503 \d+ ms", line.getMessage())
    assert "SQLITE_FULL" not in caplog.text + str(body)
    assert "secret" not in caplog.text
