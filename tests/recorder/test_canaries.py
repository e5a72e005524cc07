"""Every secret of a real login is known here, and then looked for in all three forms of its trace."""

import itertools
import re
from collections.abc import Iterator

import pytest

from tests.recorder.conftest import Recording
from workshop.recorder import files
from workshop.recorder.build import build_trace
from workshop.recorder.context import returned_object
from workshop.recorder.masking import Labels, decoded, masked_body, masked_headers, masked_url, parameters
from workshop.recorder.model import Outcome, Request, Subject
from workshop.recorder.recorder import Recorder

PUBLIC = {
    *("client_id", "code_challenge", "code_challenge_method", "decision", "grant_type", "iss", "user"),
    *("redirect_uri", "resource", "response_type", "scope"),
}


def secrets_of(requests: list[Request]) -> dict[str, str]:
    """What the recorder heard and must not repeat, by where it stood; a name that comes again is numbered."""
    found: dict[str, str] = {}
    for name, value in itertools.chain.from_iterable(map(_heard, requests)):
        if len(value) >= 8 and value not in found.values():
            found[f"{name} #{len(found)}" if name in found else name] = value
    return found


def _heard(request: Request) -> Iterator[tuple[str, str]]:
    form = parameters(request.request_body.decode()) if b"=" in request.request_body else []
    for name, value in itertools.chain(parameters(request.url.partition("?")[2]), form):
        if name not in PUBLIC:
            yield f"{name} of {request.url.partition('?')[0]}", value
    for name, value in (*request.request_headers, *request.response_headers):
        if name == "authorization":
            yield "authorization", value.removeprefix("Bearer ")
        elif name == "x-github-pat":
            yield name, value
        elif "cookie" in name:
            pairs = value.split(";")[: 1 if name == "set-cookie" else None]
            yield from ((f"cookie {one.partition('=')[0].strip()}", one.partition("=")[2]) for one in pairs)
    answered = returned_object(request)
    yield from ((kind, answered[kind]) for kind in ("access_token", "refresh_token") if kind in answered)
    for name, said in itertools.product(
        ("requestState", "elicitationId"), (request.request_body, decoded(request))
    ):
        yield from ((name, one.decode()) for one in re.findall(rf'"{name}": ?"([^"]+)'.encode(), said))


async def test_no_secret_of_a_login_is_in_any_form_of_its_trace(login: Recording) -> None:
    secrets = secrets_of(login.recorder.requests)
    kinds = " ".join(secrets)
    for kind in (
        "code ",
        "state ",
        "code_verifier",
        "access_token",
        "refresh_token",
        "cookie",
    ):
        assert kind in kinds, f"the test itself has to see a {kind}"
    secrets |= {"signature": secrets["access_token"].rpartition(".")[2]}
    for ending, writer in files.WRITERS.items():
        text = writer(login.trace)
        assert [name for name, value in secrets.items() if value in text] == [], ending
        assert not re.search(r"practice_[a-z0-9-]+_[a-z2-7]+_[0-9a-f]{32}|eyJ[\w-]{20,}", text), ending
    raw = "".join(request.url for request in login.recorder.requests)
    assert [name for name, value in secrets.items() if value in raw], "the search can find"


def test_a_known_secret_is_removed_wherever_it_turns_up() -> None:
    recorder = Recorder()
    request = Request(
        "agent", "POST", "http://localhost:1/mcp", 0.0, status=200, reason="canary-5f1c-in-the-reason"
    )
    request.request_headers = [("content-type", "application/json")]
    request.request_body = (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x",'
        b'"arguments":{"q":"canary-5f1c","token":"sample-value-1"}}}'
    )
    recorder.requests.append(request)
    outcome = Outcome("failed", "It said canary-5f1c", "and Bearer sample-value-2", "sample-value-1")
    trace = build_trace(recorder, Subject("x", secrets=("canary-5f1c",)), outcome)
    for writer in files.WRITERS.values():
        text = writer(trace)
        assert "canary-5f1c" not in text
        assert "sample-value" not in text
        assert "secret-1" in text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://u:p@h/a?code=abcdefgh&x=1#frag", "http://h/a?code=⟨code-1⟩&x=⟨value-1⟩"),
        ("http://h/?scope=a+b&resource=http%3A%2F%2Fh%2F", "http://h/?scope=a_b&resource=http://h/"),
        ("http://[", "(not a URL)"),
    ],
)
def test_an_address_shows_only_parameters_known_to_be_harmless(url: str, shown: str) -> None:
    assert masked_url(url, Labels()) == shown


def test_headers_that_are_not_known_are_named_and_not_shown() -> None:
    headers = [("X-New", "sample"), ("Set-Cookie", "a=sample-1; Path=/"), ("Mcp-Session-Id", "sample-2")]
    assert masked_headers(headers, Labels()) == (
        ("X-New", "(not shown)"),
        ("Set-Cookie", "a=⟨cookie-1⟩; Path=/"),
        ("Mcp-Session-Id", "⟨session-1⟩"),
    )


@pytest.mark.parametrize(
    ("body", "kind", "shown"),
    [
        (b'{"client_secret":"sample"}', "application/json", '{\n  "client_secret": "⟨client-secret-1⟩"\n}'),
        (b"{", "application/json", "(labelled as JSON, but not valid JSON)"),
        (b"[" * 100_000, "application/json", "(labelled as JSON, but not valid JSON)"),
        (b"<title>Approve &amp; go</title><input value=sample>", "text/html", "(a page: Approve &amp; go)"),
        (b"code=sample&grant_type=x", "application/x-www-form-urlencoded", "code=⟨code-1⟩\ngrant_type=x"),
        (b"sample", "text/plain", "(not shown)"),
    ],
)
def test_a_body_is_shown_as_far_as_it_is_understood(body: bytes, kind: str, shown: str) -> None:
    assert masked_body(body, kind, Labels()) == shown
