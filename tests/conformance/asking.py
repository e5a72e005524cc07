"""Tools and a prompt that ask the client: by a request of their own, or since 2026-07-28 by their result.

The second way is SEP-2322. The SDK seals the state that such a result sends along: one that comes back
changed is refused before it gets here.
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

DEFAULTS: dict[str, Any] = {
    "name": {"type": "string", "default": "John Doe"},
    "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "default": True},
}
OPTIONS = ["option1", "option2", "option3"]
TITLED = [{"const": f"value{number}", "title": f"Option {number}"} for number in (1, 2, 3)]
ENUMS: dict[str, Any] = {
    "untitledSingle": {"type": "string", "enum": OPTIONS},
    "titledSingle": {"type": "string", "oneOf": TITLED},
    "legacyEnum": {
        "type": "string",
        "enum": ["opt1", "opt2", "opt3"],
        "enumNames": ["Option One", "Option Two", "Option Three"],
    },
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": OPTIONS}},
    "titledMulti": {"type": "array", "items": {"anyOf": TITLED}},
}
PERSON: dict[str, Any] = {
    "username": {"type": "string", "description": "User's response"},
    "email": {"type": "string", "description": "User's email address"},
}


async def test_sampling(prompt: str, context: Context) -> str:
    """Ask the client's model."""
    message = SamplingMessage(role="user", content=TextContent(text=prompt))
    result = await context.session.create_message(
        [message], max_tokens=100, related_request_id=context.request_id
    )
    return f"LLM response: {result.content.text if isinstance(result.content, TextContent) else ''}"


async def test_elicitation(message: str, context: Context) -> str:
    """Ask the person."""
    return f"User response: {await _elicit(context, message, PERSON, list(PERSON))}"


async def test_elicitation_sep1034_defaults(context: Context) -> str:
    """Ask with a default for every field."""
    return f"Elicitation completed: {await _elicit(context, 'Are the defaults right?', DEFAULTS, [])}"


async def test_elicitation_sep1330_enums(context: Context) -> str:
    """Ask for choices of every kind."""
    return f"Elicitation completed: {await _elicit(context, 'What do you choose?', ENUMS, [])}"


async def _elicit(context: Context, message: str, properties: dict[str, Any], required: list[str]) -> str:
    schema = {"type": "object", "properties": properties, "required": required}
    result = await context.session.elicit_form(message, schema, related_request_id=context.request_id)
    return f"action={result.action}, content={json.dumps(result.content)}"


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
    test_sampling,
    test_elicitation,
    test_elicitation_sep1034_defaults,
    test_elicitation_sep1330_enums,
    test_input_required_result_elicitation,
    test_input_required_result_sampling,
    test_input_required_result_list_roots,
    test_input_required_result_capabilities,
    test_input_required_result_request_state,
    test_input_required_result_tampered_state,
    test_input_required_result_multiple_inputs,
    test_input_required_result_multi_round,
)
