"""Tools that ask the client by a request of their own, as servers did until 2025-11-25."""

import json
from typing import Any

from mcp.server.mcpserver import Context
from mcp.types import SamplingMessage, TextContent

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


TOOLS = (
    test_sampling,
    test_elicitation,
    test_elicitation_sep1034_defaults,
    test_elicitation_sep1330_enums,
)
