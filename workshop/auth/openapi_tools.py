"""Tools out of an OpenAPI description: one for each operation that reads, its parameters as input schema.

What this reader does not understand (bodies, headers, references) it refuses, instead of offering a tool that
leaves something out. Source: OpenAPI Specification 3.1, "Operation Object" and "Parameter Object".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import jsonschema

from workshop.auth.config_reader import LOOPBACK_HOSTS, split_url
from workshop.core.errors import UsageError

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PLACES = ("path", "query")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Operation:
    """One GET of an API: how a tool shows it, and how its arguments become an address."""

    name: str
    description: str
    input_schema: Mapping[str, Any]
    path: str

    def address(self, arguments: Mapping[str, Any]) -> str:
        """Path and query for arguments.

        Raises ValueError for those that do not fit the schema, and for one that would lead to another path.
        """
        try:
            jsonschema.validate(arguments, self.input_schema)
        except jsonschema.ValidationError as error:
            raise ValueError(error.message) from error
        names = _PLACEHOLDER.findall(self.path)
        for name in names:
            if str(arguments[name]) in {"", ".", ".."}:
                raise ValueError(f"`{name}` cannot be {arguments[name]!r}")
        path = _PLACEHOLDER.sub(lambda match: quote(str(arguments[match[1]]), safe=""), self.path)
        rest = {name: value for name, value in arguments.items() if name not in names}
        query = urlencode({name: _written(value) for name, value in rest.items()})
        return f"{path}?{query}" if query else path


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Api:
    """A described API: its address and the operations by name."""

    server: str
    operations: Mapping[str, Operation]


def read_api(description: object) -> Api:
    """Read an OpenAPI 3 description; raises UsageError naming what cannot be offered."""
    root = _object(description, "the description")
    if not str(root.get("openapi", "")).startswith("3."):
        raise _wrong("openapi", "It must be version 3")
    operations = [
        _operation(path, method, value)
        for path, item in _object(root.get("paths"), "paths").items()
        for method, value in _object(item, path).items()
    ]
    named = {operation.name: operation for operation in operations}
    if not named or len(named) != len(operations):
        raise _wrong("paths", "There must be operations, each with an `operationId` of its own")
    return Api(_server(root), named)


def _server(root: Mapping[str, Any]) -> str:
    servers = root.get("servers")
    url = servers[0].get("url") if isinstance(servers, list) and servers else None
    parts = split_url(url) if isinstance(url, str) else None
    if parts is None or (parts.scheme == "http" and parts.hostname not in LOOPBACK_HOSTS):
        raise _wrong("servers", "The first must have an https URL, or http on loopback")
    return str(url).rstrip("/")


def _operation(path: str, method: str, value: object) -> Operation:
    where = f"{method.upper()} {path}"
    raw = _object(value, where)
    if method != "get" or "requestBody" in raw:
        raise _wrong(where, "Only GET without a body is offered")
    name = raw.get("operationId")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _wrong(where, "`operationId` must be 1 to 64 letters, digits, `_` or `-`")
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter in raw.get("parameters", ()):
        key, schema, is_required = _parameter(_object(parameter, where), where)
        properties[key] = schema
        required += [key] if is_required else []
    if missing := set(_PLACEHOLDER.findall(path)) - set(required):
        raise _wrong(where, f"The path's `{missing.pop()}` must be a required parameter")
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    described = str(raw.get("description") or raw.get("summary") or name)
    return Operation(name, described, {**schema, **({"required": required} if required else {})}, path)


def _parameter(raw: Mapping[str, Any], where: str) -> tuple[str, Mapping[str, Any], bool]:
    name, place = raw.get("name"), raw.get("in")
    schema = _object(raw.get("schema"), f"{where}, parameter {name}")
    if not isinstance(name, str) or place not in _PLACES:
        raise _wrong(where, f"The parameter {name} must be in the path or in the query")
    if schema.get("type") not in {"string", "integer", "boolean"}:
        raise _wrong(where, f"The parameter {name} must be a string, an integer or a boolean")
    described = {"description": raw["description"]} if raw.get("description") else {}
    return name, {**schema, **described}, raw.get("required") is True


def _object(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict) or "$ref" in value:
        raise _wrong(where, "It must be a JSON object, written out")
    return value


def _wrong(where: str, why: str) -> UsageError:
    return UsageError(f"The OpenAPI description cannot be used at `{where}`", why=why)
