"""The model over the chat-completions wire format, against a real local server; waits for a busy one."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from workshop.agent.http import LONGEST_WAIT, wait_before
from workshop.agent.messages import (
    Conversation,
    ModelTurn,
    Question,
    ToolCall,
    ToolReply,
    ToolResult,
    ToolSpec,
)
from workshop.agent.openai_chat import OpenAIChat
from workshop.core.errors import CredentialsError, DeadlineError, UsageError, WorkshopError
from workshop.core.ports import free_port

KEY = "not-a-real-key"
TOOLS = [ToolSpec("add", "Add two numbers.", {"type": "object", "properties": {}})]
ASKED: Conversation = [Question("2 + 3?")]


def _completion(**message: Any) -> Response:
    return JSONResponse({"choices": [{"message": {"role": "assistant", **message}}]})


def _error(status: int, message: str, code: str | None = None, **headers: str) -> Response:
    return JSONResponse({"error": {"message": message, "code": code}}, status, headers)


class Endpoint:
    """Answers with the given responses one after another, and keeps what it was asked."""

    def __init__(self, *responses: Response | Callable[[], Any]) -> None:
        self.responses = list(responses)
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/v1/chat/completions", self._answer, methods=["POST"])])

    async def _answer(self, request: Request) -> Response:
        self.requests.append(await request.json())
        self.keys.append(request.headers.get("authorization"))
        response = self.responses.pop(0)
        return response if isinstance(response, Response) else await response()


async def _ask(
    serve: Any, endpoint: Endpoint, conversation: Conversation = ASKED, **options: Any
) -> ModelTurn:
    waits: list[float] = options.pop("waits", [])
    key = options.pop("key", KEY)

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async with serve(endpoint.app(), free_port()) as url:
        model = OpenAIChat(f"{url}/v1/", key, "some-model", sleep=sleep, **options)
        return await model.reply(conversation, TOOLS)


async def test_an_answer_is_the_text_of_the_first_choice(serve: Any) -> None:
    endpoint = Endpoint(_completion(content="It is 5"))
    assert await _ask(serve, endpoint) == ModelTurn("It is 5")
    (request,) = endpoint.requests
    assert request["model"] == "some-model"
    assert request["messages"][1] == {"role": "user", "content": "2 + 3?"}
    assert request["tools"][0]["function"]["name"] == "add"
    assert endpoint.keys == [f"Bearer {KEY}"]


async def test_a_local_model_needs_no_key(serve: Any) -> None:
    endpoint = Endpoint(_completion(content="hi"))
    await _ask(serve, endpoint, key=None)
    assert endpoint.keys == [None]


async def test_tool_calls_come_as_json_text_and_go_back_with_their_results(serve: Any) -> None:
    function = {"name": "add", "arguments": '{"a": 2}'}
    endpoint = Endpoint(_completion(content=None, tool_calls=[{"id": "c1", "function": function}]))
    turn = await _ask(serve, endpoint)
    assert turn == ModelTurn("", (ToolCall("c1", "add", {"a": 2}),))

    endpoint = Endpoint(_completion(content="5"))
    reply = ToolReply(turn.calls[0], ToolResult("five"))
    await _ask(serve, endpoint, [*ASKED, turn, reply, ModelTurn("so it is")])
    assistant, tool, last = endpoint.requests[0]["messages"][2:]
    assert json.loads(assistant["tool_calls"][0]["function"]["arguments"]) == {"a": 2}
    assert tool == {"role": "tool", "tool_call_id": "c1", "content": "five"}
    assert last == {"role": "assistant", "content": "so it is"}


@pytest.mark.parametrize("arguments", ["{a: 2", "[1]", '"two"', "null"])
async def test_arguments_that_are_no_json_object_are_kept_for_the_loop_to_refuse(
    serve: Any, arguments: str
) -> None:
    function = {"name": "add", "arguments": arguments}
    turn = await _ask(serve, Endpoint(_completion(tool_calls=[{"id": "", "function": function}])))
    assert turn.calls == (ToolCall("call-1", "add", {}, malformed=arguments),)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_a_credentials_error_that_does_not_repeat_it(serve: Any, status: int) -> None:
    with pytest.raises(CredentialsError) as caught:
        await _ask(serve, Endpoint(_error(status, f"Incorrect API key provided: {KEY}")))
    assert KEY not in caught.value.what + caught.value.why + caught.value.hint


async def test_a_busy_endpoint_is_asked_again_after_the_time_it_names(serve: Any) -> None:
    waits: list[float] = []
    busy = _error(429, "slow down", None, **{"retry-after": "7"})
    endpoint = Endpoint(busy, PlainTextResponse("bad gateway", 502), _completion(content="5"))
    assert (await _ask(serve, endpoint, waits=waits)).text == "5"
    assert waits == [7, 2]


async def test_an_endpoint_that_stays_busy_is_given_up_after_four_attempts(serve: Any) -> None:
    endpoint = Endpoint(*[_error(503, f"overloaded {KEY}") for _ in range(5)])
    with pytest.raises(WorkshopError, match="answered 503") as caught:
        await _ask(serve, endpoint)
    assert len(endpoint.requests) == 4
    assert caught.value.why == "overloaded ***"


async def test_a_wait_that_is_too_long_is_reported_at_once(serve: Any) -> None:
    waits: list[float] = []
    endpoint = Endpoint(_error(429, "try again in an hour", None, **{"retry-after": "3600"}))
    with pytest.raises(WorkshopError, match="answered 429"):
        await _ask(serve, endpoint, waits=waits)
    assert not waits


async def test_an_account_without_quota_is_a_credentials_error_and_not_retried(serve: Any) -> None:
    endpoint = Endpoint(_error(429, "You exceeded your current quota", "insufficient_quota"))
    with pytest.raises(CredentialsError, match="no quota"):
        await _ask(serve, endpoint)
    assert len(endpoint.requests) == 1


async def test_a_refused_request_reports_what_the_endpoint_said_without_control_characters(
    serve: Any,
) -> None:
    with pytest.raises(WorkshopError) as caught:
        await _ask(serve, Endpoint(_error(404, "no model \x1b[31mred")))
    assert caught.value.why == "no model \\x1b[31mred"


async def test_a_model_that_does_not_reply_in_time_is_a_deadline_error(serve: Any) -> None:
    with pytest.raises(DeadlineError, match=r"within 0\.1 seconds"):
        await _ask(serve, Endpoint(anyio.sleep_forever), timeout=0.1)


@pytest.mark.parametrize(
    "response",
    [
        PlainTextResponse("<html>not the API</html>"),
        JSONResponse([]),
        JSONResponse({"choices": []}),
        JSONResponse({"choices": [{"message": "hello"}]}),
        JSONResponse({"choices": [{"message": {"tool_calls": [{"id": "1"}]}}]}),
        JSONResponse({"choices": [{"message": {"content": None}}]}),
        JSONResponse({"choices": [{"message": {"content": 7}}]}),
    ],
)
async def test_a_reply_that_is_no_completion_is_reported(serve: Any, response: Response) -> None:
    with pytest.raises(WorkshopError, match=r"not a chat completion|replied with nothing"):
        await _ask(serve, Endpoint(response))


@pytest.mark.parametrize(
    "url", ["http://localhost:1/v1", "http://name.invalid/v1", "gopher://x/v1", "nonsense"]
)
async def test_an_endpoint_that_cannot_be_reached_is_reported_with_the_setting_to_check(url: str) -> None:
    with pytest.raises(WorkshopError, match="cannot be reached") as caught:
        await OpenAIChat(url, KEY, "some-model").reply(ASKED, TOOLS)
    assert "OPENAI_BASE_URL" in caught.value.hint


async def test_the_text_of_a_list_of_parts_is_the_answer(serve: Any) -> None:
    parts = [
        {"type": "thinking", "text": "hm"},
        {"type": "text", "text": "It "},
        {"type": "text", "text": "is 5"},
    ]
    turn = await _ask(serve, Endpoint(_completion(content=parts)))
    assert turn.text == "It is 5"


async def test_an_answer_that_reached_its_limit_reports_that(serve: Any) -> None:
    message = {"role": "assistant", "content": "It is"}
    cut = JSONResponse({"choices": [{"message": message, "finish_reason": "length"}]})
    assert (await _ask(serve, Endpoint(cut))).text == (
        "It is […]\n(The answer is cut off: the model reached its limit of tokens.)"
    )


async def test_a_reply_that_reached_its_limit_before_any_answer_is_an_error(serve: Any) -> None:
    function = {"name": "add", "arguments": '{"a": 2, "b'}
    message = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": function}]}
    cut = JSONResponse({"choices": [{"message": message, "finish_reason": "length"}]})
    with pytest.raises(WorkshopError, match="cut off before its answer"):
        await _ask(serve, Endpoint(cut))


async def test_what_a_thinking_model_attaches_goes_back_with_the_next_turn(serve: Any) -> None:
    """As DeepSeek and Moonshot want their `reasoning_content` back, and Gemini its signature of each call."""
    function = {"name": "add", "arguments": '{"a": 2}'}
    signed = {"google": {"thought_signature": "c2lnbmVk"}}
    call = {"id": "c1", "type": "function", "function": function, "extra_content": signed}
    thinking = {
        "reasoning_content": "add them",
        "reasoning_details": [{"type": "reasoning.text", "text": "hm"}],
    }
    first = _completion(content=None, refusal=None, annotations=[], tool_calls=[call], **thinking)
    turn = await _ask(serve, Endpoint(first))
    endpoint = Endpoint(_completion(content="5"))
    reply = ToolReply(turn.calls[0], ToolResult("five"))
    await _ask(serve, endpoint, [*ASKED, turn, reply])
    sent = endpoint.requests[0]["messages"][2]
    assert sent == {"role": "assistant", "content": None, "tool_calls": [call], **thinking}


async def test_signed_parts_of_a_turn_go_back_as_they_came(serve: Any) -> None:
    parts = [{"type": "thinking", "thinking": "hm", "signature": "x"}, {"type": "text", "text": "I will add"}]
    function = {"name": "add", "arguments": "{}"}
    turn = await _ask(
        serve, Endpoint(_completion(content=parts, tool_calls=[{"id": "c1", "function": function}]))
    )
    endpoint = Endpoint(_completion(content="5"))
    await _ask(serve, endpoint, [*ASKED, turn, ToolReply(turn.calls[0], ToolResult("five"))])
    assert endpoint.requests[0]["messages"][2]["content"] == parts


@pytest.mark.parametrize(
    "arguments",
    ['{"a": ' * 150 + "1" + "}" * 150, '{"a": ' * 20_000 + "1" + "}" * 20_000, '{"a": "\\ud800"}'],
    ids=["150 levels", "20,000 levels", "half a surrogate pair"],
)
async def test_arguments_that_cannot_be_sent_on_are_for_the_loop_to_refuse(
    serve: Any, arguments: str
) -> None:
    function = {"name": "add", "arguments": arguments}
    turn = await _ask(serve, Endpoint(_completion(tool_calls=[{"id": "c1", "function": function}])))
    assert turn.calls == (ToolCall("c1", "add", {}, malformed=arguments),)


async def test_half_a_surrogate_pair_in_a_turn_or_a_result_can_go_back(serve: Any) -> None:
    turn = ModelTurn("\ud800", (ToolCall("c1", "add", {}),))
    endpoint = Endpoint(_completion(content="5"))
    assert (await _ask(serve, endpoint, [*ASKED, turn, ToolReply(turn.calls[0], ToolResult("\udfff"))])).text


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"choices": \xc3}', b'{"error": {"message": "busy"}}', b""],
    ids=lambda b: str(b[:12]),
)
async def test_a_body_that_is_no_reply_is_reported(serve: Any, body: bytes) -> None:
    with pytest.raises(WorkshopError, match="not a chat completion"):
        await _ask(serve, Endpoint(Response(body, media_type="application/json")))


@pytest.mark.parametrize(
    "body",
    # Packed in the test, and not while each worker collects.
    [lambda: b"not gzip", lambda: gzip.compress(b"{}" * 99)[:-9], lambda: gzip.compress(bytes(99_000_000))],
    ids=["not packed", "cut off", "too large"],
)
async def test_a_reply_that_cannot_be_unpacked_is_blamed_on_the_models_endpoint(
    serve: Any, body: Callable[[], bytes]
) -> None:
    packed = Response(body(), media_type="application/json", headers={"content-encoding": "gzip"})
    with pytest.raises(WorkshopError, match=r"The reply of the model's endpoint http://localhost:\d+/v1/"):
        await _ask(serve, Endpoint(packed))


@pytest.mark.parametrize("url", ["http://localhost:99999/v1", "http://localhost:x/v1", "http://[/v1"])
def test_an_address_that_is_none_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="OPENAI_BASE_URL"):
        OpenAIChat(url, KEY, "some-model")


NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("attempt", "headers", "seconds"),
    [
        (1, {}, 1),
        (3, {}, 4),
        (9, {}, LONGEST_WAIT),
        (1, {"retry-after": "7"}, 7),
        (1, {"retry-after": "0"}, 0),
        (1, {"retry-after": "3600"}, None),
        (1, {"retry-after": "Sat, 21 Nov 2026 12:00:05 GMT"}, 5),
        (1, {"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, 0),
        (1, {"retry-after": "Sat, 21 Nov 2026 13:00:00 GMT"}, None),
        (2, {"retry-after": "soon"}, 2),
        *[
            (2, {"retry-after": odd}, 2)
            for odd in ("²", "٣", "-5", "1.5", "1e9", "", "nan", "Mon", "Fri, 31 Dec 9999 23:59:59 -2359")
        ],
        (2, {"retry-after": "9" * 400}, None),
    ],
)
def test_the_server_reports_how_long_and_else_the_wait_doubles(
    attempt: int, headers: dict[str, str], seconds: float | None
) -> None:
    assert wait_before(attempt, headers, NOW) == seconds
