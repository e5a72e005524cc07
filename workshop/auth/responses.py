"""The few shapes of answer the authorization server gives."""

import json
from collections.abc import Mapping
from urllib.parse import urlencode

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import Message, Send

from workshop.auth.oauth_errors import OAuthError, RedirectError

NO_STORE = {"cache-control": "no-store", "pragma": "no-cache", "x-content-type-options": "nosniff"}


def private_json(
    body: Mapping[str, object], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """JSON that no cache may keep; in ASCII, for a request may hold a lone surrogate, which has no UTF-8."""
    text = json.dumps(dict(body), separators=(",", ":"))
    return Response(text, status, {**NO_STORE, **(headers or {})}, "application/json")


def with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    """A `send` that gives these headers to whatever answer goes through it."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(headers)
        await send(message)

    return sending


def error_json(error: OAuthError) -> Response:
    body = {"error": error.error, "error_description": error.description}
    return private_json(body, status=error.status, headers=error.headers)


def redirect(url: str, parameters: Mapping[str, str | None]) -> Response:
    """303 to `url` with parameters added; 303 never repeats a form (RFC 9700 section 4.12)."""
    pairs = {name: value for name, value in parameters.items() if value is not None}
    separator = "&" if "?" in url else "?"
    location = f"{url}{separator}{urlencode(pairs)}"
    headers = {**NO_STORE, "location": location, "referrer-policy": "no-referrer"}
    return Response(status_code=303, headers=headers)


def error_redirect(issuer: str, redirect_uri: str, state: str | None, error: RedirectError) -> Response:
    """Tell the client what failed, with `iss` as in a success (RFC 9207)."""
    answer = {"error": error.error, "error_description": error.description}
    return redirect(redirect_uri, {**answer, "state": state, "iss": issuer})
