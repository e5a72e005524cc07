"""Tools that answer on their own: content of every kind, progress, logs, errors, changes, headers."""

import asyncio
import struct
import zlib
from typing import Annotated, Any

from mcp import MCPError
from mcp.server.mcpserver import Audio, Context, Image
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import MISSING_REQUIRED_CLIENT_CAPABILITY, EmbeddedResource, TextResourceContents
from pydantic import Field


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PNG = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"\x00\xff\x00\x00"))
    + _chunk(b"IEND", b"")
)
"""One red pixel."""

WAV = b"RIFF" + struct.pack("<I4s4sIHHIIHH4sI", 36, b"WAVE", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8, b"data", 0)
"""No samples at 8 kHz."""


SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def json_schema_tool() -> Tool:
    """A tool whose schema uses what a function's signature cannot say."""

    def json_schema_2020_12_tool() -> str:
        """Tool with JSON Schema 2020-12 features."""
        return "ok"

    return Tool.from_function(json_schema_2020_12_tool).model_copy(update={"parameters": SCHEMA})


def embedded(uri: str, mime_type: str, text: str) -> EmbeddedResource:
    return EmbeddedResource(resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text))


def test_simple_text() -> str:
    """Answer with text."""
    return "This is a simple text response for testing."


def test_image_content() -> Image:
    """Answer with an image."""
    return Image(data=PNG, format="png")


def test_audio_content() -> Audio:
    """Answer with a sound."""
    return Audio(data=WAV, format="wav")


def test_embedded_resource() -> EmbeddedResource:
    """Answer with a resource inside the result."""
    return embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")


def test_multiple_content_types() -> list[Any]:
    """Answer with text, an image and a resource."""
    resource = embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}')
    return ["Multiple content types test:", Image(data=PNG, format="png"), resource]


def test_header_parameter(
    region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})],
) -> str:
    """Take an argument that an HTTP header repeats (SEP-2243)."""
    return region


async def test_tool_with_progress(context: Context) -> str:
    """Report progress three times."""
    for progress in (0, 50, 100):
        await context.report_progress(progress, 100)
        await asyncio.sleep(0.05)
    return "Progress was reported"


async def test_tool_with_logging(context: Context) -> str:
    """Send three log messages."""
    for message in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await context.info(message)
        await asyncio.sleep(0.05)
    return "Logs were sent"


async def test_logging_tool(context: Context) -> str:
    """Send a log message to who asked for log messages."""
    await context.info("A log message")
    return "A log was offered"


async def test_streaming_elicitation(context: Context) -> str:
    """Answer on a stream."""
    await context.report_progress(1, 1)
    return "Nothing was asked on the stream"


async def test_trigger_tool_change(context: Context) -> str:
    """Say that the tools have changed."""
    await context.notify_tools_changed()
    return "The tools have changed"


async def test_trigger_prompt_change(context: Context) -> str:
    """Say that the prompts have changed."""
    await context.notify_prompts_changed()
    return "The prompts have changed"


async def test_reconnection(context: Context) -> str:
    """Break off the stream before the answer (SEP-1699)."""
    await context.close_sse_stream()
    await asyncio.sleep(0.2)
    return "Answered after the stream broke off"


def test_error_handling() -> str:
    """Fail."""
    raise ToolError("This tool intentionally returns an error for testing")


def test_missing_capability(context: Context) -> str:
    """Need a client that can sample."""
    if context.client_capabilities and context.client_capabilities.sampling:
        return "The client can sample"
    raise MCPError(
        MISSING_REQUIRED_CLIENT_CAPABILITY,
        "This tool needs a client that can sample",
        {"requiredCapabilities": {"sampling": {}}},
    )


TOOLS = (
    test_simple_text,
    test_image_content,
    test_audio_content,
    test_embedded_resource,
    test_multiple_content_types,
    test_header_parameter,
    test_tool_with_progress,
    test_tool_with_logging,
    test_logging_tool,
    test_streaming_elicitation,
    test_trigger_tool_change,
    test_trigger_prompt_change,
    test_reconnection,
    test_error_handling,
    test_missing_capability,
)
