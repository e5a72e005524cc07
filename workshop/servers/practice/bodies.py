"""Read request bodies that are small by nature, and refuse the rest."""

import json
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request

from workshop.core.errors import UsageError

MOST_BYTES = 64 * 1024


async def read_small(request: Request) -> bytes:
    """The body. Raises UsageError above 64 KiB."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise UsageError("The request body is larger than 64 KiB")
    return bytes(body)


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form, or of a JSON object of strings. Raises UsageError when it is neither."""
    body = await read_small(request)
    if request.headers.get("content-type", "").startswith("application/json"):
        raw = parse_json(body)
        return (
            {key: value for key, value in raw.items() if isinstance(value, str)}
            if isinstance(raw, dict)
            else {}
        )
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def parse_json(body: bytes) -> Any:  # noqa: ANN401 - JSON can be anything
    """Raises UsageError when the body is not JSON."""
    try:
        return json.loads(body)
    except ValueError as error:
        raise UsageError("The request body is not JSON", why=str(error)) from error
