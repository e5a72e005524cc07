"""Whatever is sent to the relay, with and without a token; a remote server writes down what passes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.bench import Bench, bench
from tests.fuzz.effort import looks
from tests.fuzz.strategies import (
    almost,
    almost_form,
    documents,
    encoded_json,
    json_values,
    paths,
    sendable,
    texts,
)
from tests.servers.gateway.harness import DISCOVER, ISSUER, MCP_HEADERS, SignedIn, settings
from tests.servers.gateway.mcp_upstream import Recorder

CALL = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "get_me", "arguments": {}}}
TOOL = {"name": "get_me", "title": "Me", "description": "Who I am", "inputSchema": {"type": "object"}}
RULES = {"filter": ["get_me", "whoami"], "override": {"search": {"name": "whoami", "description": "Who"}}}
MAY_PASS = {"accept", "content-type", "last-event-id", "traceparent", "tracestate", "user-agent"}
OF_THE_HOP = {"host", "content-length", "accept-encoding", "authorization", "connection"}
names = st.one_of(
    st.sampled_from(
        [
            *(
                "Cookie",
                "X-Forwarded-Host",
                "Forwarded",
                "Via",
                "Accept",
                "Mcp-Name",
                "Mcp-Session-Id",
                "Upgrade",
            ),
            *(
                "MCP-Protocol-Version",
                "Proxy-Authorization",
                "Expect",
                "TE",
                "X-Mcp",
                "Last-Event-ID",
                "Range",
            ),
        ]
    ),
    st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,12}", fullmatch=True),
)
values = sendable.map(lambda text: "".join(char for char in text if char not in "\r\n\0").strip())


@pytest.fixture(scope="module")
def remote() -> Recorder:
    return Recorder()


@pytest.fixture(scope="module", params=[None, RULES], ids=["as it is", "with a tool filter"])
def relay(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    practice_server: str,
    remote: Recorder,
) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("gateway")

    def values(upstream: str) -> dict[str, Any]:
        common = settings(folder, upstream=practice_server)
        return {**common, "tools": request.param, "remote_url": f"{upstream}/mcp"}

    with bench(folder, values, remote.route()) as running:
        yield running


@pytest.fixture(scope="module")
def login(relay: Bench) -> SignedIn:
    return relay.run(relay.site.sign_in())


@looks(100)
@given(
    token=st.one_of(
        sendable, st.sampled_from(["Bearer ", "bearer x.y.z", "Basic eDp5", "Bearer a, Bearer b"])
    ),
    path=paths,
    query=almost_form({"access_token": "x.y.z"}),
    body=documents(DISCOVER),
)
def test_nothing_passes_without_a_token_of_ours(
    relay: Bench, remote: Recorder, token: str, path: str, query: str, body: bytes
) -> None:
    remote.requests.clear()
    headers = {**MCP_HEADERS, "authorization": token.encode()}
    answer = relay.send("POST", f"{path}?{query}", content=body, headers=headers)
    assert remote.requests == []
    assert answer.status_code in {400, 401, 404, 405, 413, 415, 429}
    if answer.status_code == 401 and not path.startswith("/oauth"):
        assert answer.headers["www-authenticate"].startswith("Bearer ")


@looks(60)
@given(data=st.data())
def test_a_changed_token_is_no_token(
    relay: Bench, remote: Recorder, login: SignedIn, data: st.DataObject
) -> None:
    remote.requests.clear()
    token = login.access_token
    place = data.draw(st.integers(0, len(token) - 1))
    changed = token[:place] + data.draw(st.sampled_from("Aa0-_.= é")) + token[place + 1 :]
    headers = {**MCP_HEADERS, "authorization": f"Bearer {changed}".encode()}
    answer = relay.send("POST", "/mcp", json=DISCOVER, headers=headers)
    if answer.status_code == 200:
        # The last character of base64url has bits that mean nothing; a strict reader may still take it.
        assert changed == token
    else:
        assert answer.status_code == 401
        assert remote.requests == []
    relay.unlogged(changed)


@looks(120)
@given(headers=st.lists(st.tuples(names, values), max_size=5), body=documents(CALL), path=paths)
def test_what_passes_is_the_body_a_few_headers_and_the_upstream_token(
    relay: Bench, remote: Recorder, login: SignedIn, headers: list[tuple[str, str]], body: bytes, path: str
) -> None:
    remote.requests.clear()
    sent = [(name.encode(), value.encode()) for name, value in headers]
    sent += [(b"authorization", f"Bearer {login.access_token}".encode())]
    answer = relay.send("POST", path, content=body, headers=sent)
    relay.unlogged(login.access_token)
    assert answer.status_code < 500
    for method, where, arrived, content in remote.requests:
        assert (method, where) == ("POST", "/mcp")
        for name, value in arrived:
            assert name.lower() in MAY_PASS | OF_THE_HOP or name.lower().startswith("mcp-"), name
            assert login.access_token not in value
            if name.lower() == "authorization":
                assert value.startswith("Bearer practice_learner_")
        if relay.site.config.tools is None:
            assert content == body
        else:
            must_not_name_a_hidden_tool(content)


@looks(60)
@given(id_=json_values, name=texts)
def test_a_refused_call_is_answered_under_any_id(
    relay: Bench, login: SignedIn, id_: object, name: str
) -> None:
    message = {**CALL, "id": id_, "params": {"name": name, "arguments": {}}}
    headers = {**MCP_HEADERS, **login.bearer, "content-type": "application/json"}
    answer = relay.send("POST", "/mcp", content=encoded_json(message), headers=headers)
    assert answer.status_code in {200, 400}


def must_not_name_a_hidden_tool(content: bytes) -> None:
    message = json.loads(content)
    if message.get("method") == "tools/call":
        assert message["params"]["name"] in {"get_me", "search"}


@looks(60)
@given(
    method=st.sampled_from(["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"]),
    path=paths,
    host=st.one_of(st.just("localhost:8080"), values),
    origin=st.one_of(st.just(ISSUER), st.just("null"), values),
)
def test_no_method_path_host_or_origin_makes_it_fail_badly(
    relay: Bench, method: str, path: str, host: str, origin: str
) -> None:
    headers = {"host": host.encode(), "origin": origin.encode()}
    answer = relay.send(method, path, headers=headers)
    assert answer.status_code < 500
    if host.lower() != "localhost:8080":
        assert answer.status_code == 421 or (
            path == "/health" and host.lower() in {"127.0.0.1:8080", "[::1]:8080"}
        )
    # A page of this computer may read the answer, whatever host it asked for; nobody else may.
    assert answer.headers.get("access-control-allow-origin") in {None, ISSUER if origin == ISSUER else None}


@looks(80)
@given(data=st.data())
def test_whatever_the_remote_server_answers_passes_or_is_an_upstream_failure(
    relay: Bench, remote: Recorder, login: SignedIn, data: st.DataObject
) -> None:
    kind = data.draw(
        st.sampled_from(["application/json", "text/event-stream", "text/html", "a/b; c", "é", ""])
    )
    status = data.draw(st.sampled_from([200, 202, 204, 206, 301, 400, 404, 429, 500, 503, 599]))
    result = {"tools": data.draw(st.lists(st.one_of(json_values, almost(TOOL, json_values)), max_size=4))}
    body = data.draw(documents({"jsonrpc": "2.0", "id": 1, "result": result}))
    body = b"data: " + body + b"\n\n" if "event" in kind else body

    async def answer(_: web.Request) -> web.Response:
        return web.Response(
            body=None if status == 204 else body, status=status, headers={"content-type": kind}
        )

    remote.answer = answer
    try:
        passed = relay.pass_on(json=DISCOVER, headers={**MCP_HEADERS, **login.bearer})
    finally:
        remote.answer = None
    if relay.site.config.tools is not None and passed.status_code == 500 and '"code":-32603' in passed.text:
        error = {"code": -32603, "message": "internal error"}
        assert passed.json() == {"jsonrpc": "2.0", "id": DISCOVER["id"], "error": error}
        return
    assert passed.status_code == (502 if status == 301 else status)
    if relay.site.config.tools is None and passed.status_code == status:
        assert passed.content == (b"" if status == 204 else body)
