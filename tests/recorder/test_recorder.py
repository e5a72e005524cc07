"""Listening changes nothing: what streams still streams, and what is off costs nothing."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import httpx2
import pytest
from starlette import requests
from starlette.applications import Starlette
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tests.agent.conftest import Serve
from workshop.agent.http import open_client
from workshop.core.ports import free_port
from workshop.recorder import current, recording
from workshop.recorder.masking import Labels, decoded
from workshop.recorder.model import MOST_BODY, Request
from workshop.recorder.recorder import MOST_REQUESTS, Recorder
from workshop.recorder.steps import rpc_messages


class Server:
    """Sends one event, and the next only when it is let."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def _events(self) -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await self.go_on.wait()
        yield b"data: 2\n\n"

    async def stream(self, _: requests.Request) -> Response:
        return StreamingResponse(self._events(), media_type="text/event-stream")

    async def packed(self, _: requests.Request) -> Response:
        return Response(gzip.compress(b'{"a": 1}'), headers={"content-encoding": "gzip"})

    async def large(self, _: requests.Request) -> Response:
        return Response(b"x" * (MOST_BODY + 10))

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/stream", self.stream),
                Route("/packed", self.packed),
                Route("/large", self.large),
            ]
        )


async def test_an_event_arrives_while_the_stream_is_still_open(serve: Serve) -> None:
    server, recorder = Server(), Recorder()
    async with serve(server.app(), free_port()) as url:
        with recording(recorder):
            http = open_client(10)
        async with http, http.stream("GET", f"{url}/stream") as response:
            chunks = response.aiter_bytes()
            assert await anext(chunks) == b"data: 1\n\n", "though the server waits before it sends more"
            (request,) = recorder.requests
            assert bytes(request.body) == b"data: 1\n\n"
            assert request.ended is None
            server.go_on.set()
            assert await anext(chunks) == b"data: 2\n\n"
    assert request.ended is not None
    assert bytes(request.body) == b"data: 1\n\ndata: 2\n\n"


async def test_a_compressed_answer_reaches_both_the_agent_and_the_trace(serve: Serve) -> None:
    recorder = Recorder()
    async with serve(Server().app(), free_port()) as url:
        with recording(recorder):
            http = open_client(10)
        async with http:
            assert (await http.get(f"{url}/packed")).json() == {"a": 1}
    assert decoded(recorder.requests[0]) == b'{"a": 1}'
    del recorder.requests[0].body[8:]
    assert decoded(recorder.requests[0]) == b"", "a cut one is not shown"


async def test_a_large_answer_is_whole_for_the_agent_and_cut_in_the_trace(serve: Serve) -> None:
    recorder = Recorder()
    async with serve(Server().app(), free_port()) as url:
        with recording(recorder):
            http = open_client(10)
        async with http:
            assert len((await http.get(f"{url}/large")).content) == MOST_BODY + 10
    assert len(recorder.requests[0].body) == MOST_BODY
    assert recorder.requests[0].size == MOST_BODY + 10


async def test_a_request_that_nobody_answers_is_recorded_as_such() -> None:
    recorder = Recorder()
    with recording(recorder):
        http = open_client(5)
    async with http:
        with pytest.raises(httpx2.ConnectError):
            await http.get(f"http://localhost:{free_port()}/")
    (request,) = recorder.requests
    assert request.status is None


async def test_without_a_recorder_and_for_the_model_nothing_listens() -> None:
    assert current() is None
    async with open_client(5) as http:
        assert not http.event_hooks["request"]
        assert [hook.__module__ for hook in http.event_hooks["response"]] == ["workshop.core.http_client"]
    with recording(Recorder()):
        async with open_client(5, sender=None) as http:
            assert [hook.__module__ for hook in http.event_hooks["response"]] == ["workshop.core.http_client"]


def test_a_flood_of_requests_is_counted_and_not_stored() -> None:
    recorder = Recorder()
    for _ in range(MOST_REQUESTS + 3):
        recorder.built("http://localhost/")
    assert len(recorder.requests) == MOST_REQUESTS
    assert recorder.dropped == 3


@pytest.mark.parametrize(
    ("body", "kind", "shown"),
    [
        (
            b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}',
            "application/json",
            ['initialize 1 {"protocolVersion": "2025-11-25"}'],
        ),
        (
            b'event: message\r\ndata: {"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"}]}}\r\n\r\n',
            "text/event-stream",
            [" 1 1 tools: a"],
        ),
        (
            b'data: {"jsonrpc":"2.0","method":"notifications/progress",\ndata: "params":{}}\n\n: ping\n\n',
            "text/event-stream",
            ["notifications/progress  {}"],
        ),
        (
            b'[{"jsonrpc":"2.0","id":2,"error":{"code":-32600,"message":"no"}}, 3]',
            "application/json",
            [' 2 error {"code": -32600, "message": "no"}'],
        ),
        (
            b'{"jsonrpc":"2.0","id":3,"result":{"content":[{"type":"text","text":"no"}],"isError":true}}',
            "application/json",
            [" 3 refused: no"],
        ),
        (
            b'{"jsonrpc":"2.0","id":4,"result":{"protocolVersion":"2025-06-18","serverInfo":{"name":"s"}}}',
            "application/json",
            [" 4 s 2025-06-18"],
        ),
        (b"data: no\n\n", "text/event-stream", []),
        (b'{"hello": 1}', "application/json", []),
    ],
)
def test_both_eras_of_mcp_are_read_from_json_and_events(body: bytes, kind: str, shown: list[str]) -> None:
    messages = rpc_messages(body, kind)
    assert [f"{one.method} {one.id} {one.summary(Labels())}" for one in messages] == shown


def test_an_unfinished_request_is_shown() -> None:
    request = Request("agent", "GET", "http://localhost/", 0.0)
    assert decoded(request) == b""
