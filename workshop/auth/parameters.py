"""Request parameters read strictly: a repeated parameter is an error, not a choice (RFC 6749 section 3.1)."""

from collections.abc import Iterator
from urllib.parse import parse_qsl

from starlette.requests import Request

from workshop.auth.limits import FORM_BYTES, QUERY_BYTES, SlowBodyError, read_body
from workshop.auth.oauth_errors import OAuthError

_MOST_FIELDS = 64


class Parameters:
    """Parameters by name; those in `repeated` came more than once and have no value."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._values: dict[str, str] = {}
        self.repeated: set[str] = set()
        for name, value in pairs:
            if name in self._values:
                self.repeated.add(name)
            self._values[name] = value

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def get(self, name: str) -> str | None:
        """The value; None when absent, empty (RFC 6749: as if omitted) or repeated."""
        return None if name in self.repeated else self._values.get(name) or None


def query(request: Request) -> Parameters | None:
    """The query's parameters; None when it is too long or not proper UTF-8."""
    return _parse(request.scope["query_string"], QUERY_BYTES)


async def form(request: Request, *, seconds: float) -> Parameters:
    """The form of a POST.

    Raises OAuthError for another media type, an undecodable body, or parameters in the query.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise OAuthError("invalid_request", "Send the parameters as application/x-www-form-urlencoded")
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
        return await read_body(request.receive, FORM_BYTES, seconds)
    except SlowBodyError as error:
        raise OAuthError("invalid_request", "The body did not arrive in time", status=408) from error


def _parse(raw: bytes, limit: int) -> Parameters | None:
    if len(raw) > limit:
        return None
    try:
        text = raw.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:
        return None
    return Parameters(pairs)
