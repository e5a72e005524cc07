"""The configuration file of the practice GitHub, checked before anything starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from workshop.core.errors import UsageError
from workshop.core.files import read_object
from workshop.core.hops import HOPS
from workshop.core.seats import seat_numbers, seat_user

RECORD_SECRET = "PRACTICE_RECORD_SECRET"  # noqa: S105 - the name of a variable
"""The environment variable with the secret that the seats' record keys and tokens are made from."""
_MOST_SEATS = 5000  # below the catalog's `_FACTOR`, so that the ids of the copies are unique
_WORDING = {
    "missing": "is missing",
    "extra_forbidden": "is not a known key",
    "int_type": "must be an integer",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "greater_than_equal": "must be between 1 and 65535",
    "less_than_equal": "must be between 1 and 65535",
    "string_pattern_mismatch": "must be one label of a host name, or https:// and a host name",
    "value_error": "must be an http or https URL without a fragment",
}


@dataclass(frozen=True, kw_only=True)
class PracticeConfig:
    """One OAuth app and the port of its server.

    With a `service_host` it runs in a cluster: it listens on all addresses and also answers to that name.
    With a `public_url`, such as `https://github.com`, a TLS proxy is in front of it, and its API is at that
    host's `api.` name, as GitHub's is.
    With `seats`, many people share it: each has a user, and reads only what was received for that user.
    """

    port: int
    client_id: str
    client_secret: str = field(repr=False)
    callback_url: str
    app_name: str
    service_host: str = ""
    public_url: str = ""
    hop: int | None = None
    """The number of the hop in which its pages are shown."""
    seats: int = 0
    record_secret: str = field(repr=False, default="")

    def with_seats(self, seats: int, environment: Mapping[str, str]) -> "PracticeConfig":
        """The same app with users for this many seats; raises UsageError without their secret."""
        secret = environment.get(RECORD_SECRET, "").strip()
        if not 0 <= seats <= _MOST_SEATS:
            raise UsageError(f"`--seats {seats}` is out of range", hint=f"Choose up to {_MOST_SEATS}")
        if seats and not secret:
            raise UsageError(
                f"`--seats` needs the variable {RECORD_SECRET}",
                why="Each seat's key is made from it",
                hint="`workshop room create` sets it",
            )
        return replace(self, seats=seats, record_secret=secret) if seats else self

    @property
    def seat_users(self) -> tuple[str, ...]:
        """The users of the seats, in order; none without seats."""
        return tuple(map(seat_user, seat_numbers(self.seats)))

    @property
    def url(self) -> str:
        """The address of the practice GitHub, without a trailing slash."""
        return self.public_url or f"http://localhost:{self.port}"

    @property
    def api_url(self) -> str:
        """The address of its REST API, without a trailing slash."""
        return self.public_url.replace("://", "://api.") or self.url

    @property
    def hosts(self) -> frozenset[str]:
        """The names that it answers to besides those of loopback."""
        public = (
            {urlsplit(url).hostname or "" for url in (self.url, self.api_url)} if self.public_url else set()
        )
        return frozenset({self.service_host, *public} - {""})


def _checked_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in {"http", "https"} or not url.hostname or url.fragment or url.port == 0:
        raise ValueError
    return text


_Text = Annotated[str, Field(min_length=1)]


class _File(BaseModel):
    """The keys of the JSON file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    port: Annotated[int, Field(ge=1, le=65535)]
    client_id: _Text
    client_secret_file: _Text
    callback_url: Annotated[str, AfterValidator(_checked_url)]
    app_name: _Text
    # `\z` is the end of the text: pydantic uses Rust's regular expressions.
    service_host: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\z")] = ""
    public_url: Annotated[str, Field(pattern=r"^https://[a-z0-9.-]+\z")] = ""
    hop: Annotated[int, Field(ge=1, le=len(HOPS))] | None = None


def load(path: Path) -> PracticeConfig:
    """Read and check the JSON file. Raises UsageError with the file and the key that is wrong."""
    try:
        found = _File.model_validate(read_object(path))
    except ValidationError as error:
        # Neither the input nor pydantic's own text: the value may be a secret in the wrong place.
        problem = error.errors(include_input=False, include_url=False)[0]
        raise UsageError(
            f"The practice GitHub cannot use {path}",
            why=f"`{problem['loc'][0]}` {_WORDING.get(problem['type'], 'is not valid')}",
            hint="Required: port, client_id, client_secret_file, callback_url, app_name",
        ) from None
    secret = _read_secret(path.parent / found.client_secret_file)
    return PracticeConfig(client_secret=secret, **found.model_dump(exclude={"client_secret_file"}))


def _read_secret(path: Path) -> str:
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        hint = "Check the path, its permissions and that it is a UTF-8 text file."
        raise UsageError(
            f"The client secret file {path} cannot be read", why=str(error), hint=hint
        ) from error
    if not secret:
        hint = "Write the OAuth app's secret into it."
        raise UsageError(f"The client secret file {path} is empty", hint=hint)
    return secret
