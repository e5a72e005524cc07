"""Whatever a server sends, writing the trace never fails: that would hide how the run ended."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.effort import looks
from workshop.recorder import files
from workshop.recorder.build import build_trace
from workshop.recorder.files import explain
from workshop.recorder.model import Outcome, Request, Subject
from workshop.recorder.recorder import Recorder

KEYS = st.sampled_from(
    [
        *(
            "access_token",
            "authorization_servers",
            "client_id",
            "code_challenge_methods_supported",
            "content",
        ),
        *("expires_in", "id", "issuer", "jsonrpc", "method", "params", "redirect_uris", "resource", "result"),
        *("serverInfo", "tools", "token_endpoint", "name", "arguments", "error"),
        *("code", "data", "elicitations", "inputRequests", "message", "url"),
    ]
)
WORDS = st.sampled_from(
    [
        *(
            "http://localhost:1/",
            "http://[",
            "//x[",
            "2.0",
            "tools/call",
            "eyJhbGciOiJ9.eyJhdWQiOjF9.x",
            "",
            "\ud800",
        ),
        *("e30.e30.", "a.b.c", "bnVsbA.W10.x", "⟨code-1⟩", "authorization_code", "\x00\x1b[31m"),
    ]
)
LEAVES = (
    st.none()
    | st.just(-32042)
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True)
    | WORDS
    | st.text(max_size=8)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)
BODIES = (
    VALUES.map(lambda value: json.dumps(value).encode())
    | VALUES.map(lambda value: b"data: " + json.dumps(value).encode() + b"\n\n")
    | st.dictionaries(KEYS, VALUES, max_size=5).map(
        lambda value: json.dumps({"jsonrpc": "2.0", **value}).encode()
    )
    | st.tuples(KEYS, VALUES).map(
        lambda pair: json.dumps(
            {
                "jsonrpc": "2.0",
                "error": {"code": -32042, "data": {"elicitations": [{"url": pair[1], "message": pair[1]}]}},
                "result": {"inputRequests": {"x": {"params": {"url": "http://[", pair[0]: pair[1]}}}},
            }
        ).encode()
    )
    | st.just(b"grant_type=authorization_code&code=x&code_verifier=\xff&refresh_token=")
    | st.binary(max_size=20)
)
PATHS = st.sampled_from(
    [
        *("/mcp", "/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server"),
        *(
            "/oauth/token",
            "/callback",
            "//[",
            "/oauth/authorize?response_type=code&client_id=a&redirect_uri=http://[",
        ),
        *("/callback?code=abcdefghijkl&state=&iss=http://[", "/x?%ff=%00&code&state=⟨state-1⟩", ""),
    ]
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("content-type", "location", "www-authenticate", "authorization", "set-cookie", "x"),
                *("cookie", "x-github-pat"),
            ]
        ),
        WORDS
        | st.sampled_from(
            [
                "application/json",
                "text/event-stream",
                "application/x-www-form-urlencoded",
                "text/html",
                "Bearer x.y.z",
            ]
        )
        | st.text(max_size=12),
    ),
    max_size=4,
)
TIMES = st.floats(0, 5)


@st.composite
def requests(draw: Any) -> Request:
    began = draw(TIMES)
    return Request(
        sender=draw(st.sampled_from(["agent", "browser", "gateway"])),
        method=draw(st.sampled_from(["GET", "POST", "DELETE"])),
        url=draw(st.sampled_from(["http://localhost:1", "http://u:p@h", "https://x.example"])) + draw(PATHS),
        at=began,
        seen_by=draw(st.sampled_from(["agent", "listener", "memory", "upstream", "built"])),
        request_headers=draw(HEADERS),
        request_body=draw(BODIES),
        status=draw(st.none() | st.integers(100, 599)),
        response_headers=draw(HEADERS),
        ended=draw(st.none() | st.just(began + 0.5)),
        body=bytearray(draw(BODIES)),
        credential=draw(st.none() | st.just(("jwt", "0" * 64))),
    )


@looks(80)
@given(st.lists(requests(), max_size=5))
def test_any_recording_can_be_written_in_every_format(recorded: list[Request]) -> None:
    recorder = Recorder()
    recorder.requests += [request for request in recorded if request.seen_by != "upstream"]
    seen = [request for request in recorded if request.seen_by == "upstream"]
    trace = build_trace(recorder, Subject("x", "https://x.example"), Outcome(), seen)
    for writer in files.WRITERS.values():
        writer(trace).encode("utf-8", "replace")
    explain(trace)
    assert files.from_data(json.loads(files.to_json(trace))) == trace
