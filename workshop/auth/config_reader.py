"""Typed access to a JSON configuration; every error names the setting at fault."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from workshop.core.errors import UsageError
from workshop.core.settings import read_env

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?")
_NEVER_SET = frozenset(
    {"host", "content-length", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
    | {"proxy-authorization", "proxy-authenticate", "proxy-connection", "accept-encoding", "mcp-session-id"}
    | {"close", "http2-settings", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}
    | {"x-real-ip"}
)
_UNSAFE_IN_URL = re.compile(r"[\s\x00-\x20\x7f-\uffff\\]")


def wrong_setting(where: str, problem: str, hint: str = "") -> UsageError:
    return UsageError(f"The configuration is wrong at `{where}`", why=problem, hint=hint)


@dataclass(frozen=True)
class Section:
    """One JSON object of the configuration, with the dotted path that leads to it."""

    values: Mapping[str, object]
    where: str

    @classmethod
    def of(cls, value: object, where: str, *, known: frozenset[str]) -> "Section":
        """Accept an object with known keys only: a misspelt setting is an error, not a default."""
        if not isinstance(value, dict):
            raise wrong_setting(where or "the file", "It must be a JSON object")
        for key in value:
            if key not in known:
                raise wrong_setting(
                    f"{where}.{key}".lstrip("."),
                    "There is no such setting",
                    f"Known: {', '.join(sorted(known))}",
                )
        return cls(value, where)

    def path(self, name: str) -> str:
        return f"{self.where}.{name}".lstrip(".")

    def has(self, name: str) -> bool:
        return self.values.get(name) is not None

    def text(self, name: str) -> str:
        value = self.values.get(name)
        if not isinstance(value, str) or not value:
            raise wrong_setting(self.path(name), "It must be a text that is not empty")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.values.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise wrong_setting(self.path(name), "It must be a list of texts")
        return tuple(value)

    def mapping(self, name: str) -> dict[str, str]:
        value = self.values.get(name) or {}
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise wrong_setting(self.path(name), "It must map names to texts")
        return dict(value)

    def number(self, name: str, default: int, low: int, high: int) -> int:
        value = self.values.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise wrong_setting(self.path(name), f"It must be a whole number from {low} to {high}")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        value = self.values.get(name, default)
        if not isinstance(value, bool):
            raise wrong_setting(self.path(name), "It must be true or false")
        return value

    def url(self, name: str) -> str:
        """An absolute URL as given: https anywhere, http on loopback only."""
        try:
            return _checked_url(self.text(name))
        except ValueError as error:
            raise wrong_setting(self.path(name), f"It {error}") from error

    def secret_file(self, name: str) -> bytes:
        return read_secret(self.text(name), self.path(name))


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


def _secret_at(value: object, info: ValidationInfo) -> bytes:
    """The secret that `PATH` or `PATH#KEY` names, relative to the folder of the configuration."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("must be the path of a file, or PATH#KEY for a file of KEY=VALUE lines")
    name, _, key = value.partition("#")
    path = Path((info.context or {}).get("folder", ""), name)
    if key:
        return _value_in(path, key)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {path}: {error.strerror}") from error
    if not content.strip():
        raise ValueError(f"names an empty file: {path}")
    return content


SecretFile = Annotated[bytes, BeforeValidator(_secret_at), Field(repr=False)]
"""A key with the path of a secret's file; the model has the content, and never shows it."""
SecretText = Annotated[
    str,
    BeforeValidator(lambda value, info: _secret_at(value, info).decode("utf-8").strip()),
    Field(repr=False),
]
"""The same for a text; whitespace around it is removed."""


def origin_of(url: str) -> str:
    """Scheme and authority of an absolute URL, as written."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def read_secret(path: str, where: str) -> bytes:
    """The bytes of a mounted secret, or of one value of a file such as `.env`: PATH#KEY.

    Raises UsageError, which names the file and never its content.
    """
    name, _, key = path.partition("#")
    try:
        if key:
            return _value_in(Path(name), key)
        return Path(path).read_bytes()
    except OSError as error:
        raise wrong_setting(where, f"{path}: {error.strerror}", "The secret was not mounted") from error
    except _NoSuchValueError as error:
        raise wrong_setting(where, f"It {error}") from error
    except ValueError as error:
        raise wrong_setting(
            where, "It is not a path: a path has no NUL character and no lone surrogates"
        ) from error


class _NoSuchValueError(ValueError):
    """A file of KEY=VALUE lines does not have the key."""


def _value_in(path: Path, key: str) -> bytes:
    value = read_env(path).get(key)
    if not value:
        raise _NoSuchValueError(f"names {key} in `{path}`, which has no such value")
    return value.encode()


def check_header(name: str, value: str, where: str) -> None:
    """Refuse a header that would break a request's framing, or carry a line break."""
    if not _HEADER_NAME.fullmatch(name) or name.lower() in _NEVER_SET:
        raise wrong_setting(where, "This is not a header that can be added to a request")
    if not _HEADER_VALUE.fullmatch(value):
        raise wrong_setting(
            where, "The value must be printable ASCII without surrounding whitespace or line breaks"
        )
