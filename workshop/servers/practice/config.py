"""The configuration file of the practice GitHub, checked before anything starts."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from workshop.core.errors import UsageError

_MAX_PORT = 65535
_KEYS = {"port": int, "client_id": str, "client_secret_file": str, "callback_url": str, "app_name": str}
_OPTIONAL_KEYS = {"service_host": str}
_HOST = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class PracticeConfig:
    """One OAuth app and the port it is offered on.

    With a `service_host` it runs in a cluster: it listens on all addresses and answers to that name too.
    """

    port: int
    client_id: str
    client_secret: str = field(repr=False)
    callback_url: str
    app_name: str
    service_host: str = ""

    @property
    def url(self) -> str:
        """The address of the practice GitHub, without a slash at the end."""
        return f"http://localhost:{self.port}"


def load(path: Path) -> PracticeConfig:
    """Read and check the JSON file. Raises UsageError with the file and the field that is wrong."""
    raw = _read_object(path)
    given = {key: kind for key, kind in _OPTIONAL_KEYS.items() if key in raw}
    for key, kind in {**_KEYS, **given}.items():
        _require(path, key in raw, f"`{key}` is missing")
        _require(
            path, type(raw[key]) is kind and raw[key] != "", f"`{key}` must be a non-empty {kind.__name__}"
        )
    unknown = ", ".join(sorted(raw.keys() - _KEYS.keys() - _OPTIONAL_KEYS.keys()))
    _require(path, not unknown, f"unknown: {unknown}")
    _require(path, 0 < raw["port"] <= _MAX_PORT, f"`port` must be between 1 and {_MAX_PORT}")
    _require(
        path,
        _is_http_url(raw["callback_url"]),
        "`callback_url` must be an http or https URL without a fragment",
    )
    service_host = raw.get("service_host", "")
    _require(
        path,
        not service_host or _HOST.fullmatch(service_host),
        "`service_host` must be one label of a host name",
    )
    return PracticeConfig(
        port=raw["port"],
        client_id=raw["client_id"],
        client_secret=_read_secret(path.parent / raw["client_secret_file"]),
        callback_url=raw["callback_url"],
        app_name=raw["app_name"],
        service_host=service_host,
    )


def _read_object(path: Path) -> dict[str, Any]:
    text = _read_text(path, "configuration")
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise _broken(path, f"not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise _broken(path, "not a JSON object")
    return raw


def _read_secret(path: Path) -> str:
    secret = _read_text(path, "client secret").strip()
    if not secret:
        raise UsageError(
            f"The client secret file {path} is empty", hint="Write the OAuth app's secret into it."
        )
    return secret


def _read_text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        hint = "Check the path, its permissions and that it is a UTF-8 text file."
        raise UsageError(f"The {what} file {path} cannot be read", why=str(error), hint=hint) from error


def _is_http_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in {"http", "https"} and bool(url.hostname) and not url.fragment and url.port != 0
    except ValueError:
        return False


def _require(path: Path, holds: object, why: str) -> None:
    if not holds:
        raise _broken(path, why)


def _broken(path: Path, why: str) -> UsageError:
    return UsageError(
        f"The practice GitHub cannot use {path}",
        why=why,
        hint="It needs port, client_id, client_secret_file, callback_url, app_name; in a pod service_host.",
    )
