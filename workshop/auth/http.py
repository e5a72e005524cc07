"""HTTP as the authorization server speaks it: strict parameters, uncacheable answers, and its errors.

A repeated parameter is an error (RFC 6749 section 3.1). Each error class is answered in its own form.
"""

import json
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Send

from workshop.auth.limits import FORM_BYTES, QUERY_BYTES, SlowBodyError, read_body
from workshop.auth.redirect_rules import Destination


class OAuthError(Exception):
    """Answered as JSON (RFC 6749 section 5.2, RFC 7591 section 3.2.2)."""

    def __init__(
        self, error: str, description: str, *, status: int = 400, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.status = status
        self.headers = dict(headers or {})


@dataclass(frozen=True)
class Remedy:
    """A setting that the server's operator can change, and what it then does."""

    setting: str
    effect: str


class PageError(Exception):
    """Answered as a page to the person: the client cannot be trusted with a redirect."""

    def __init__(self, title: str, text: str, *, status: int = 400, remedy: Remedy | None = None) -> None:
        super().__init__(title)
        self.title = title
        self.text = text
        self.status = status
        self.remedy = remedy


class RedirectError(Exception):
    """Answered by sending the browser back to the client with `error` (RFC 6749 section 4.1.2.1)."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(error)
        self.error = error
        self.description = description


_MOST_FIELDS = 64  # reading thousands of fields would take longer than sending them


class Parameters:
    """Parameters by name; those in `repeated` were sent more than once and have no value.

    One without a value counts as omitted (RFC 6749 sections 3.1 and 3.2); but it counts as a repetition.
    """

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._values: dict[str, str] = {}
        self.repeated: set[str] = set()
        for name, value in pairs:
            if name in self._values:
                self.repeated.add(name)
            self._values[name] = value

    def __contains__(self, name: str) -> bool:
        return name in self.repeated or bool(self._values.get(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def get(self, name: str) -> str | None:
        """The value; None when omitted or repeated."""
        return None if name in self.repeated else self._values.get(name) or None


def scopes_in(text: str) -> tuple[str, ...]:
    """The scopes of a `scope` value (RFC 6749 section 3.3), each once; more than one space is like one."""
    return tuple(dict.fromkeys(scope for scope in text.split(" ") if scope))


_NONE = Parameters([])


def query_parameters(request: Request) -> Parameters | None:
    """The query's parameters; None when it is too long or not proper UTF-8."""
    return parse_query(request.scope["query_string"])


def parse_query(query: bytes) -> Parameters | None:
    """As `query_parameters`; most requests to the relay have none."""
    return _parse(query, QUERY_BYTES) if query else _NONE


async def form_parameters(request: Request, *, seconds: float) -> Parameters:
    """The form of a POST.

    Raises OAuthError for another media type, an undecodable body, or parameters in the query.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise OAuthError("invalid_request", "Send the parameters as application/x-www-form-urlencoded")
    # Servers log addresses, so a secret must not be in one (RFC 6749 section 2.3.1).
    if request.scope["query_string"]:
        raise OAuthError("invalid_request", "Parameters belong in the body, not in the URL")
    parameters = _parse(await bounded_body(request, seconds=seconds), FORM_BYTES)
    if parameters is None:
        raise OAuthError("invalid_request", "The form cannot be read")
    return parameters


async def bounded_body(request: Request, *, seconds: float) -> bytes:
    """The request's body, at most 64 KiB.

    Raises OAuthError for a slow one, BodyTooLargeError for a long one.
    """
    try:
        body, _ = await read_body(request.receive, FORM_BYTES, seconds)
    except SlowBodyError as error:
        raise OAuthError("invalid_request", "The body did not arrive in time", status=408) from error
    return body


def _parse(raw: bytes, limit: int) -> Parameters | None:
    if len(raw) > limit:
        return None
    try:
        text = raw.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:
        return None
    return Parameters(pairs)


NO_STORE = {"cache-control": "no-store", "pragma": "no-cache", "x-content-type-options": "nosniff"}


def private_json(
    body: Mapping[str, object], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """JSON that no cache may store; in ASCII, because a lone surrogate in a request has no UTF-8 form."""
    text = json.dumps(dict(body), separators=(",", ":"))
    return Response(text, status, {**NO_STORE, **(headers or {})}, "application/json")


def with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    """A `send` that adds these headers to every answer."""

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
    """Report the failure to the client, with `iss` as in a successful answer (RFC 9207)."""
    answer = {"error": error.error, "error_description": error.description}
    return redirect(redirect_uri, {**answer, "state": state, "iss": issuer})


def early_error(issuer: str, redirect_uri: str, state: str | None, error: RedirectError) -> Response:
    """Report a failure from before the consent page: no link may start a program that nobody has approved.

    RFC 9700 section 4.11.2: a redirect URI that is not trusted gets no automatic redirect. Anybody can
    register the scheme of any program.

    Raises PageError for a redirect URI with a scheme of the application's own.
    """
    if Destination.of(redirect_uri).kind == "scheme":
        raise PageError("The application asked for something it cannot get", f"{error.description}.")
    return error_redirect(issuer, redirect_uri, state, error)


def visible(text: str) -> str:
    """`text` without control, format (such as text direction) and private characters, spaces folded."""
    spaced = "".join(" " if char.isspace() else char for char in text)
    return " ".join(
        "".join(char for char in spaced if not unicodedata.category(char).startswith("C")).split()
    )


class RefusedError(Exception):
    """The request is answered with `response` and goes no further."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


def refused(
    status: int, error: str, description: str, headers: Mapping[str, str] | None = None
) -> RefusedError:
    """A refusal in the form of OAuth's errors (RFC 6749 section 5.2)."""
    body = {"error": error, "error_description": description}
    return RefusedError(private_json(body, status=status, headers=headers))
