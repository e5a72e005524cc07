"""Typed access to a JSON configuration; every error names the setting at fault."""

import re
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
)

from workshop.core.errors import UsageError, reason
from workshop.core.mistakes import allowed, first, in_words
from workshop.core.settings import read_env

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_NO_PATH = "must be the path of a file, or PATH#KEY for a file of KEY=VALUE lines"
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?")
# They frame a message, describe its sender to the next server, or are for the relay to set.
_NEVER_SET = frozenset(
    {"host", "content-length", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
    | {"proxy-authorization", "proxy-authenticate", "proxy-connection", "accept-encoding", "mcp-session-id"}
    | {"close", "http2-settings", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}
    | {"x-real-ip"}
)
# Browsers read a backslash as a slash, and drop tabs and line breaks (URL standard).
_UNSAFE_IN_URL = re.compile(r"[\s\x00-\x20\x7f-\uffff\\]")


def wrong_setting(where: str, problem: str, hint: str = "") -> UsageError:
    return UsageError(f"The configuration is wrong at `{where}`", why=problem, hint=hint)


def split_url(value: str) -> SplitResult | None:
    """Split an absolute http(s) URL; None for anything a browser and Python might read differently."""
    if _UNSAFE_IN_URL.search(value) or "#" in value:
        return None
    try:
        parts = urlsplit(value)
        usable = parts.port is None or parts.port > 0
    except ValueError:
        return None
    if not usable or parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        return None
    return parts


def _checked_url(value: str) -> str:
    parts = split_url(value)
    if parts is None:
        raise ValueError("must be an absolute http or https URL without user name or fragment")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK_HOSTS:
        raise ValueError(f"must be https: plain http to {parts.hostname} would send credentials in the open")
    return value


Url = Annotated[str, AfterValidator(_checked_url)]
"""A key of a configuration's model: an absolute URL, https anywhere, http on loopback only."""


def _secret_in(text: str, folder: Path) -> bytes:
    """The bytes of a file, or of one value of a file such as `.env`: PATH#KEY.

    Raises ValueError, which names the file and never its content.
    """
    name, _, key = text.partition("#")
    path = folder / name
    try:
        content = read_env(path).get(key, "").encode() if key else path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {path}: {reason(error)}") from error
    except ValueError as error:  # a NUL character, or half of a surrogate pair
        raise ValueError(_NO_PATH) from error
    if key and not content:
        raise ValueError(f"names {key} in `{path}`, which has no such value")
    return content


def _secret_at(value: object, info: ValidationInfo) -> bytes:
    """The secret that a configuration names, relative to its folder."""
    if not isinstance(value, str) or not value:
        raise ValueError(_NO_PATH)
    content = _secret_in(value, Path((info.context or {}).get("folder", "")))
    if not content.strip():
        raise ValueError(f"names an empty file: {value}")
    return content


SecretFile = Annotated[bytes, BeforeValidator(_secret_at), Field(repr=False)]
"""A key with the path of a secret's file; the model has the content, and never shows it."""
SecretText = Annotated[
    str,
    BeforeValidator(lambda value, info: _secret_at(value, info).decode("utf-8").strip()),
    Field(repr=False),
]
"""The same for a text; whitespace around it is removed."""


SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 section 3.3


class Block(BaseModel):
    """A JSON object of a configuration: a misspelt key is an error, not a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


BlockType = TypeVar("BlockType", bound=Block)


def read_block(model: type[BlockType], values: object, above: str = "") -> BlockType:
    """A configuration as `model`; raises UsageError with the key, below `above`, and what it must be.

    No value is shown: some are secrets.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = first(error)
    where = ".".join([*filter(None, [above]), *map(str, found["loc"])]) or "the file"
    raise wrong_setting(where, f"It {in_words(found, 'a JSON object')}", allowed(found, model))


def _scopes(values: tuple[str, ...]) -> tuple[str, ...]:
    if not all(SCOPE.fullmatch(scope) for scope in values):
        raise ValueError("has a scope with spaces, quotes or backslashes")
    return values


Text = Annotated[str, Field(min_length=1)]
Texts = tuple[Text, ...]
Pairs = Annotated[dict[str, str], BeforeValidator(lambda pairs: pairs or {})]
Scopes = Annotated[Texts, AfterValidator(_scopes)]


def Or(*default: str) -> AfterValidator:  # noqa: N802 - part of a type
    """These texts in place of none."""
    return AfterValidator(lambda texts: texts or default)


def origin_of(url: str) -> str:
    """Scheme and authority of an absolute URL, as written."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def read_secret(path: str, where: str) -> bytes:
    """The secret at PATH or PATH#KEY; raises UsageError with the setting that names it."""
    try:
        return _secret_in(path, Path())
    except ValueError as error:
        raise wrong_setting(where, f"It {error}") from error


def check_header(name: str, value: str, where: str) -> None:
    """Refuse a header that would break a request's framing, or carry a line break."""
    if not _HEADER_NAME.fullmatch(name) or name.lower() in _NEVER_SET:
        raise wrong_setting(where, "This is not a header that can be added to a request")
    if not _HEADER_VALUE.fullmatch(value):
        raise wrong_setting(
            where, "The value must be printable ASCII without surrounding whitespace or line breaks"
        )
