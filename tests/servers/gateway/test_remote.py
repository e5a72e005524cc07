"""The connections to the remote server: used again, given up when closed, and never sent a line too many."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.servers.gateway.harness import PATIENT, Site, configured, settings, site
from tests.servers.gateway.mcp_upstream import CALL
from workshop.auth import Outbound
from workshop.auth.outbound import Remote

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"


class Server:
    """Answers each request; the second of a connection is read and then left without an answer, if asked."""

    def __init__(self, answer: bytes = ANSWER, *, leaves: bool = False) -> None:
        self._answer = answer
        self._leaves = leaves
        self.connections: list[list[bytes]] = []
        """The methods of the requests of each connection."""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests: list[bytes] = []
        self.connections.append(requests)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while not (self._leaves and len(requests) == 2):
                head = await reader.readuntil(b"\r\n\r\n")
                requests.append(head.split()[0])
                for line in head.lower().splitlines():
                    if line.startswith(b"content-length:"):
                        await reader.readexactly(int(line.split()[1]))
                if not (self._leaves and len(requests) == 2):
                    writer.write(self._answer)
        writer.close()


@contextlib.asynccontextmanager
async def relaying_to(server: Server, folder: Path) -> AsyncIterator[Site]:
    async with await asyncio.start_server(server, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        values = settings(folder) | {"remote_url": f"http://127.0.0.1:{port}/mcp", "auth": None}
        async with site(configured(folder, values)) as gateway:
            yield gateway


async def test_calls_in_a_row_share_a_connection(tmp_path: Path) -> None:
    server = Server()
    async with relaying_to(server, tmp_path) as gateway:
        for _ in range(3):
            assert (await gateway.http.post("/mcp", json=CALL)).json() == {}
        assert (await gateway.http.delete("/mcp")).json() == {}
    assert server.connections == [[b"POST", b"POST", b"POST", b"DELETE"]]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_request_without_a_body_is_sent_again_if_its_connection_was_closed(
    tmp_path: Path, method: str
) -> None:
    server = Server(leaves=True)
    async with relaying_to(server, tmp_path) as gateway:
        await gateway.http.post("/mcp", json=CALL)
        assert (await gateway.http.request(method, "/mcp")).json() == {}
    assert server.connections == [[b"POST", method.encode()], [method.encode()]]


async def test_a_call_is_sent_once_for_it_may_have_been_carried_out(tmp_path: Path) -> None:
    server = Server(leaves=True)
    async with relaying_to(server, tmp_path) as gateway:
        await gateway.http.post("/mcp", json=CALL)
        assert (await gateway.http.post("/mcp", json=CALL)).status_code == 502
        assert (await gateway.http.post("/mcp", json=CALL)).status_code == 200
    assert server.connections == [[b"POST", b"POST"], [b"POST"]]


async def test_an_interim_answer_is_passed_over(tmp_path: Path) -> None:
    async with relaying_to(Server(HINTS + HINTS + ANSWER), tmp_path) as gateway:
        answer = await gateway.http.post("/mcp", json=CALL)
    assert (answer.status_code, answer.json(), "link" in answer.headers) == (200, {}, False)


@pytest.mark.parametrize("value", [b"a\r\nX: b", b"a\nX: b", b"a\rX: b"])
async def test_a_header_with_a_line_break_is_never_sent(value: bytes) -> None:
    server = Server()
    async with await asyncio.start_server(server, "127.0.0.1", 0) as listening, Outbound(PATIENT) as outbound:
        remote = Remote(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/mcp", outbound)
        with pytest.raises(ValueError, match="line break"):
            await remote.ask("GET", [(b"authorization", value)], b"")
    assert server.connections == []
