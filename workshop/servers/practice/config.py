"""The configuration file of the practice GitHub, checked before anything starts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from workshop.core.errors import UsageError, reason
from workshop.core.files import read_object, validated
from workshop.core.hops import HOPS
from workshop.core.mistakes import Port, Whole
from workshop.core.outgoing import web_url
from workshop.core.seats import seat_numbers, seat_user
from workshop.core.text import DNS_LABEL

RECORD_SECRET = "PRACTICE_RECORD_SECRET"  # noqa: S105 - the name of a variable
"""The environment variable with the secret that the seats' record keys and tokens are made from."""
_MOST_SEATS = 5000  # below the catalog's `_FACTOR`, so that the ids of the copies are unique
_REQUIRED = "Required: port, client_id, client_secret_file, callback_url, app_name"


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
    url = web_url(text)
    if url is None or url.fragment:
        raise ValueError("must be an http or https URL without a fragment")
    return text


def _matching(pattern: str, problem: str) -> AfterValidator:
    def checked(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(problem)
        return text

    return AfterValidator(checked)


_Text = Annotated[str, Field(min_length=1)]


class _File(BaseModel):
    """The keys of the JSON file."""

    # The input is hidden, because it may be a secret in the wrong place.
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    port: Port
    client_id: _Text
    client_secret_file: _Text
    callback_url: Annotated[str, AfterValidator(_checked_url)]
    app_name: _Text
    service_host: Annotated[str, _matching(DNS_LABEL, "must be one label of a host name")] = ""
    public_url: Annotated[str, _matching(r"https://[a-z0-9.-]+", "must be https:// and a host name")] = ""
    hop: Annotated[int, Whole(1, len(HOPS))] | None = None


def load(path: Path) -> PracticeConfig:
    """Read and check the JSON file. Raises UsageError with the file and the key that is wrong."""
    found = validated(_File, read_object(path), path, _REQUIRED)
    secret = _read_secret(path.parent / found.client_secret_file)
    return PracticeConfig(client_secret=secret, **found.model_dump(exclude={"client_secret_file"}))


def _read_secret(path: Path) -> str:
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        hint = "Check the path, its permissions and that it is a UTF-8 text file."
        raise UsageError(
            f"The client secret file {path} cannot be read", why=reason(error), hint=hint
        ) from error
    if not secret:
        hint = "Write the OAuth app's secret into it."
        raise UsageError(f"The client secret file {path} is empty", hint=hint)
    return secret
