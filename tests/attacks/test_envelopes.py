"""Attacks by what a request is made of: bodies that are not one message, bodies and headers out of place."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.servers.gateway.mcp_upstream import relaying

NO_MESSAGE = {
    "a batch": b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]',
    "an empty batch": b" \r\n\t[]",
    "params null": b'{"jsonrpc":"2.0","id":1,"method":"ping","params":null}',
    "params a list": b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}',
    "id null": b'{"jsonrpc":"2.0","id":null,"method":"ping"}',
    "id with a fraction": b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}',
    "id whole, written as a fraction": b'{"jsonrpc":"2.0","id":1.0,"method":"ping"}',
    "id true": b'{"jsonrpc":"2.0","id":true,"method":"ping"}',
    "id of more than 64 bits": b'{"jsonrpc":"2.0","id":9223372036854775808,"method":"ping"}',
    "no version": b'{"id":1,"method":"ping"}',
    "version 1": b'{"jsonrpc":"1.0","id":1,"method":"ping"}',
    "no method": b'{"jsonrpc":"2.0","id":1}',
    "an empty method": b'{"jsonrpc":"2.0","id":1,"method":""}',
    "request and answer": b'{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}',
    "result and error": b'{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"m"}}',
    "a result for nobody": b'{"jsonrpc":"2.0","result":{}}',
    "an error without a code": b'{"jsonrpc":"2.0","id":1,"error":{"message":"m"}}',
    "a method in capitals": b'{"jsonrpc":"2.0","id":1,"METHOD":"ping"}',
    "a key twice": b'{"jsonrpc":"2.0","id":1,"method":"ping","id":2}',
    "a key twice, deep down": b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":[{"b":1,"b":2}]}}',
    "a key in two spellings": b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1,"A":2}}',
    "a number beyond all numbers": b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1e1000}}',
}
NO_JSON = {
    "nothing": b"",
    "half": b'{"jsonrpc":"2.0"',
    "not a number": b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":NaN}}',
    "utf-16": '{"jsonrpc":"2.0","id":1,"method":"ping"}'.encode("utf-16"),
    "no utf-8": b'{"jsonrpc":"2.0","id":1,"method":"\xff"}',
    "deep": b"[" * 100_000,
}


async def test_t98_a_post_is_one_json_rpc_message_and_goes_on_as_it_came(
    tmp_path: Path, practice: str
) -> None:
    async with relaying(tmp_path, practice) as (gateway, recorder):
        signed_in = await gateway.sign_in()
        for bodies, code in ((NO_MESSAGE, -32600), (NO_JSON, -32700)):
            for why, body in bodies.items():
                for path in ("/mcp", "/elsewhere"):
                    answer = await gateway.http.post(path, headers=signed_in.bearer, content=body)
                    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code), why
                    assert "id" not in answer.json()
        assert recorder.requests == []
        for body in (
            b' {"jsonrpc":"2.0","id":"a","method":"x","params":{"a":{"b":1},"b":[{"a":-1.5e3}]}}\n',
            b'{"jsonrpc":"2.0","id":-9223372036854775808,"method":"x"}',
            b'{"jsonrpc":"2.0","method":"notifications/x","extra":1}',
            b'{"jsonrpc":"2.0","id":7,"result":null}',
            b'{"jsonrpc":"2.0","error":{"code":-1,"message":"m","data":[]}}',
        ):
            answer = await gateway.http.post("/mcp", headers=signed_in.bearer, content=b"\xef\xbb\xbf" + body)
            assert answer.status_code == 200
            assert recorder.requests[-1][3] == body


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_only_a_post_has_a_body(tmp_path: Path, practice: str, method: str) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"{}"

    async with relaying(tmp_path, practice) as (gateway, recorder):
        signed_in = await gateway.sign_in()
        for content in (b"{}", chunks()):
            answer = await gateway.http.request(method, "/mcp", headers=signed_in.bearer, content=content)
            assert answer.status_code == 400
        assert recorder.requests == []
        assert (await gateway.http.request(method, "/mcp", headers=signed_in.bearer)).status_code == 200


async def test_the_protocol_without_sessions_has_post_alone(tmp_path: Path, practice: str) -> None:
    async with relaying(tmp_path, practice) as (gateway, recorder):
        signed_in = await gateway.sign_in()
        headers = {**signed_in.bearer, "MCP-Protocol-Version": "2026-07-28"}
        for method in ("GET", "DELETE"):
            answer = await gateway.http.request(method, "/mcp", headers=headers)
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert recorder.requests == []


@pytest.mark.parametrize("named", ["authorization", "X-Tenant", "close, Origin", "Mcp-Session-Id"])
async def test_connection_names_no_header_that_is_for_us(tmp_path: Path, practice: str, named: str) -> None:
    """A proxy behind a server would take the named header away after the server has judged it."""
    async with relaying(tmp_path, practice) as (gateway, recorder):
        signed_in = await gateway.sign_in()
        refused = await gateway.call({**signed_in.bearer, "Connection": named})
        assert refused.status_code == 400
        assert recorder.requests == []
        taken = await gateway.call({**signed_in.bearer, "Connection": "Keep-Alive, TE, upgrade"})
        assert taken.status_code == 200
