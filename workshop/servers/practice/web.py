"""Read request bodies of at most 64 KiB, and write escaped HTML pages."""

import json
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse

from workshop.core.errors import UsageError
from workshop.core.pages import PAGE_POLICY, page_environment

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
    """The fields of a form, or of a JSON object of strings. Raises UsageError for invalid JSON."""
    body = await read_small(request)
    if request.headers.get("content-type", "").startswith("application/json"):
        # GitHub's token endpoint accepts JSON, too.
        raw = parse_json(body)
        return (
            {key: value for key, value in raw.items() if isinstance(value, str)}
            if isinstance(raw, dict)
            else {}
        )
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def parse_json(body: bytes) -> Any:  # noqa: ANN401 - JSON can be anything
    """The parsed body; raises UsageError if it is not JSON."""
    try:
        return json.loads(body)
    except ValueError as error:
        raise UsageError("The request body is not JSON", why=str(error)) from error


@cache
def _environment() -> Environment:
    return page_environment(Path(__file__).with_name("templates"))


def render(template: str, *, status: int = 200, **values: object) -> HTMLResponse:
    """A page that cannot be framed or cached and loads nothing."""
    html = _environment().get_template(template).render(**values)
    headers = {
        "Content-Security-Policy": PAGE_POLICY,
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
    }
    return HTMLResponse(html, status_code=status, headers=headers)


def message(title: str, text: str, *, status: int, hop: int | None = None) -> HTMLResponse:
    """A page with a title and one sentence."""
    return render("message.html", status=status, title=title, text=text, hop=hop)
