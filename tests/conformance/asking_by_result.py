"""Tools and a prompt that ask the client by their result, as servers do since 2026-07-28 (SEP-2322).

The SDK seals the state they send along: one that comes back changed is refused before it gets here.
"""

import json
from typing import Any

from mcp import MCPError
from mcp.server.mcpserver import Context
from mcp.types import (
    INVALID_PARAMS,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    TextContent,
)

Answer = str | InputRequiredResult


def test_input_required_result_elicitation(context: Context) -> Answer:
    """Ask for a name."""
    answer = _filled_in(context, "user_name")
    return f"Hello, {answer['name']}!" if answer else _ask({"user_name": _name()})


def test_input_required_result_sampling(context: Context) -> Answer:
    """Ask the client's model."""
    response = (context.input_responses or {}).get("capital_question")
    if isinstance(response, CreateMessageResult) and isinstance(response.content, TextContent):
        return response.content.text
    return _ask({"capital_question": _sampling("What is the capital of France?", 100)})


def test_input_required_result_list_roots(context: Context) -> Answer:
    """Ask for the client's roots."""
    response = (context.input_responses or {}).get("client_roots")
    if isinstance(response, ListRootsResult):
        return ", ".join(str(root.uri) for root in response.roots)
    return _ask({"client_roots": ListRootsRequest()})


def test_input_required_result_capabilities(context: Context) -> Answer:
    """Ask only what the client says it can answer."""
    can = context.client_capabilities
    asked: dict[str, InputRequest] = {}
    if can and can.elicitation:
        asked["user_name"] = _name()
    if can and can.sampling:
        asked["greeting"] = _sampling("Generate a greeting", 50)
    return _ask(asked) if asked else "There is nothing the client could be asked"


def test_input_required_result_request_state(context: Context) -> Answer:
    """Ask, and remember in the state that we did."""
    if context.request_state == "asked" and _filled_in(context, "confirm"):
        return "state-ok"
    return _ask({"confirm": _form("Please confirm", "ok", "boolean")}, "asked")


def test_input_required_result_tampered_state(context: Context) -> Answer:
    """Ask in the same way, to see a changed state refused."""
    return test_input_required_result_request_state(context)


def test_input_required_result_multiple_inputs(context: Context) -> Answer:
    """Ask three things at once."""
    asked: dict[str, InputRequest] = {
        "user_name": _name(),
        "greeting": _sampling("Generate a greeting", 50),
        "client_roots": ListRootsRequest(),
    }
    if context.request_state == "asked" and asked.keys() <= (context.input_responses or {}).keys():
        return "All three were answered"
    return _ask(asked, "asked")


def test_input_required_result_multi_round(context: Context) -> Answer:
    """Ask a second thing after the first; the state holds what was answered."""
    if context.request_state is None:
        return _ask({"step1": _form("Step 1: What is your name?", "name", "string")}, "{}")
    known = json.loads(context.request_state)
    name, color = _filled_in(context, "step1"), _filled_in(context, "step2")
    if known and color:
        return f"{known['name']} likes {color['color']}"
    if name:
        color_form = _form("Step 2: What is your favorite color?", "color", "string")
        return _ask({"step2": color_form}, json.dumps(name))
    raise MCPError(INVALID_PARAMS, "The question that was asked has no answer")


def test_input_required_result_prompt(context: Context) -> Answer:
    """A prompt that asks before it answers."""
    answer = _filled_in(context, "user_context")
    if answer:
        return f"The context is {answer['context']}"
    return _ask({"user_context": _form("What context should the prompt use?", "context", "string")})


def _ask(requests: dict[str, InputRequest], state: str | None = None) -> InputRequiredResult:
    return InputRequiredResult(input_requests=requests, request_state=state)


def _name() -> ElicitRequest:
    return _form("What is your name?", "name", "string")


def _form(message: str, field: str, kind: str) -> ElicitRequest:
    schema = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _sampling(prompt: str, max_tokens: int) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(text=prompt))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=max_tokens))


def _filled_in(context: Context, key: str) -> dict[str, Any] | None:
    """What the form named `key` came back with; None unless it was accepted and filled in."""
    response = (context.input_responses or {}).get(key)
    return response.content if isinstance(response, ElicitResult) and response.action == "accept" else None


TOOLS = (
    test_input_required_result_elicitation,
    test_input_required_result_sampling,
    test_input_required_result_list_roots,
    test_input_required_result_capabilities,
    test_input_required_result_request_state,
    test_input_required_result_tampered_state,
    test_input_required_result_multiple_inputs,
    test_input_required_result_multi_round,
)
