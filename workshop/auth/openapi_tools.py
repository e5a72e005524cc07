"""Tools from an OpenAPI description: one for each operation; parameters and JSON body are its input schema.

What this reader does not understand (cookies, forms, files, references to other documents) it refuses: a tool
never leaves something out. Source: OpenAPI Specification 3.0 and 3.1, "Operation Object", "Parameter Object",
"Request Body Object".

Why our own: FastMCP 4.2's provider refuses Discord's whole description because of one empty `enum`, sends
arguments that the schema forbids (also a line break in a header), and takes 5 s to import. openapi-core 0.23
only checks requests that exist already. This one reads 239 of Discord's 242 operations, 18 of the Petstore's
19 (four are forms or files), and all 77 of ToolHive's.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urljoin

import jsonschema

from workshop.auth.config_reader import LOOPBACK_HOSTS, check_header, split_url
from workshop.auth.openapi_schemas import Document, wrong
from workshop.core.errors import UsageError

METHODS = ("get", "post", "put", "patch", "delete")
BODY = "body"
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_STYLES = {"path": "simple", "query": "form", "header": "simple"}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SET_BY_US = frozenset({"accept", "content-type", "authorization"})  # the specification ignores them here
_NO_OPERATIONS = frozenset({"parameters", "summary", "description", "servers", "$ref"})


@dataclass(frozen=True)
class ApiRequest:
    """What a call sends to the API: the method, path and query, the operation's headers, and the JSON body.

    `body` is None without one; JSON's `null` cannot be a body.
    """

    method: str
    address: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


@dataclass(frozen=True)
class Parameter:
    """One parameter, in the path, the query or a header; an `exploded` list is sent as several parameters."""

    name: str
    location: str
    exploded: bool


@dataclass(frozen=True)
class Operation:
    """One operation of an API: how a tool shows it, and how its arguments become a request."""

    name: str
    description: str
    input_schema: Mapping[str, Any]
    path: str
    method: str = "GET"
    parameters: Sequence[Parameter] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """What is sent for a required parameter that the caller leaves out."""

    def request(self, arguments: Mapping[str, Any]) -> ApiRequest:
        """The request for arguments.

        Raises ValueError for those that do not fit the schema, and for one that would lead to another path.
        """
        try:
            problems = jsonschema.Draft202012Validator(self.input_schema).iter_errors(arguments)
            problem = jsonschema.exceptions.best_match(problems)
        except RecursionError as error:
            raise ValueError(
                "The arguments are nested too deeply, or the schema leads in a circle"
            ) from error
        if problem is not None:
            raise ValueError(problem.message)
        given = {**self.defaults, **{name: value for name, value in arguments.items() if value is not None}}
        sent: dict[str, dict[str, Any]] = {location: {} for location in _STYLES}
        for parameter in self.parameters:
            if parameter.name in given:
                sent[parameter.location][parameter.name] = _written(given[parameter.name], parameter)
        query = urlencode(sent["query"], doseq=True)
        path = _PLACEHOLDER.sub(lambda match: _step(match[1], sent["path"][match[1]]), self.path)
        address = f"{path}?{query}" if query else path
        headers = {name: _header(name, value) for name, value in sent["header"].items()}
        return ApiRequest(self.method, address, headers, given.get(BODY))


def _written(value: object, parameter: Parameter) -> str | list[str]:
    """The text of a value; a list of texts for an exploded list in the query."""
    if isinstance(value, dict):
        raise ValueError(f"`{parameter.name}` cannot be an object")  # noqa: TRY004 - what callers expect
    if isinstance(value, list):
        texts = [str(_written(item, parameter)) for item in value]
        return texts if parameter.exploded and parameter.location == "query" else ",".join(texts)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _step(name: str, value: str) -> str:
    # The server would resolve these to another path (RFC 3986 section 5.2.4).
    if value in {"", ".", ".."}:
        raise ValueError(f"`{name}` cannot be {value!r}")
    return quote(value, safe="")


def _header(name: str, value: str) -> str:
    try:
        check_header(name, value, name)
    except UsageError as error:
        raise ValueError(f"`{name}` cannot be sent as a header: {error.why}") from error
    return value


@dataclass(frozen=True)
class Api:
    """A described API: its address and the operations by name."""

    server: str
    operations: Mapping[str, Operation]


def read_api(description: object, wanted: Sequence[str] = (), server: str = "") -> Api:
    """Read an OpenAPI 3 description: all operations, or those that `wanted` names.

    `server` replaces the address in the description. Raises UsageError naming what cannot be used.
    """
    try:
        return _read(Document.of(description), wanted, server)
    except RecursionError as error:
        raise wrong("components", "Its schemas lead in a circle") from error


def _read(document: Document, wanted: Sequence[str], server: str) -> Api:
    if not str(document.root.get("openapi", "")).startswith("3."):
        raise wrong("openapi", "It must be version 3")
    found = [
        (_name(f"{method.upper()} {path}", value), path, method, item)
        for path, raw in document.resolved(document.root.get("paths"), "paths").items()
        for item in [document.resolved(raw, path)]
        for method, value in item.items()
        if method not in _NO_OPERATIONS and not method.startswith("x-")
    ]
    names = [name for name, *_ in found]
    if not names or len(set(names)) != len(names):
        raise wrong("paths", "There must be operations, each with an `operationId` of its own")
    if missing := set(wanted) - set(names):
        raise wrong("paths", f"There is no operation `{min(missing)}`")
    chosen = [_operation(document, *one) for one in found if not wanted or one[0] in wanted]
    return Api(_server(document.root, server), {operation.name: operation for operation in chosen})


def _server(root: Mapping[str, Any], server: str) -> str:
    servers = root.get("servers")
    first = servers[0] if isinstance(servers, list) and servers and isinstance(servers[0], dict) else {}
    url, variables = first.get("url"), first.get("variables")
    if isinstance(url, str) and isinstance(variables, dict):
        defaults = {name: one.get("default") for name, one in variables.items() if isinstance(one, dict)}
        url = _PLACEHOLDER.sub(lambda match: str(defaults.get(match[1], match[0])), url)
    url = urljoin(server, url) if server and isinstance(url, str) and url.startswith("/") else server or url
    parts = split_url(url) if isinstance(url, str) else None
    if parts is None or parts.query or (parts.scheme == "http" and parts.hostname not in LOOPBACK_HOSTS):
        raise wrong("servers", "The first must have an https URL, or http on loopback", _SERVER_HINT)
    return str(url).rstrip("/")


_SERVER_HINT = "Or name the API's address in the target's `server`"
_CHOOSE_HINT = "Name the operations that you want in the target's `operations`"


def _list(raw: Mapping[str, Any], key: str, where: str) -> list[Any]:
    value = raw.get(key, [])
    if not isinstance(value, list):
        raise wrong(where, f"`{key}` must be a list")
    return value


def _name(where: str, value: object) -> str:
    """The operation's `operationId`, or else its method and path."""
    name = value.get("operationId") if isinstance(value, dict) else None
    if name is None:
        name = re.sub(r"[^A-Za-z0-9]+", "_", where).strip("_").lower()[:64]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise wrong(where, "`operationId` must be 1 to 64 letters, digits, `_` or `-`")
    return name


def _operation(document: Document, name: str, path: str, method: str, item: Mapping[str, Any]) -> Operation:
    where = f"{method.upper()} {path}"
    raw = document.resolved(item[method], where)
    if method not in METHODS or raw.get("servers") or item.get("servers"):
        why = f"Only {', '.join(METHODS).upper()} at the description's own server are supported"
        raise wrong(where, why, _CHOOSE_HINT)
    schema = _Input(document, where)
    # A parameter of the operation replaces one of the path with the same name and location.
    for raw_parameter in [*_list(item, "parameters", where), *_list(raw, "parameters", where)]:
        schema.add(document.resolved(raw_parameter, where))
    if "requestBody" in raw:
        schema.add_body(document.resolved(raw["requestBody"], where), method)
    in_path = {one.name for one in schema.parameters.values() if one.location == "path"}
    if (placeholders := set(_PLACEHOLDER.findall(path))) != in_path or not in_path <= schema.required:
        missing = min(placeholders ^ in_path or in_path - schema.required)
        raise wrong(where, f"The path's `{missing}` must be a required parameter")
    described = str(raw.get("description") or raw.get("summary") or name)
    parameters, defaults = tuple(schema.parameters.values()), schema.defaults
    return Operation(name, described, schema.written(), path, method.upper(), parameters, defaults)


class _Input:
    """The input schema of an operation, as its parameters and its body are added."""

    def __init__(self, document: Document, where: str) -> None:
        self._document, self._where = document, where
        self._properties: dict[str, Any] = {}
        self._definitions: dict[str, Any] = {}
        self.parameters: dict[str, Parameter] = {}
        self.required: set[str] = set()
        self.defaults: dict[str, Any] = {}

    def add(self, raw: Mapping[str, Any]) -> None:
        name, location = raw.get("name"), raw.get("in")
        where = f"{self._where}, parameter {name}"
        if not isinstance(name, str) or location not in _STYLES:
            raise wrong(where, "It must be in the path, in the query, or a header", _CHOOSE_HINT)
        if location == "header" and name.lower() in _SET_BY_US:
            return
        if raw.get("style", _STYLES[location]) != _STYLES[location]:
            raise wrong(where, f"The style `{raw['style']}` is not supported", _CHOOSE_HINT)
        known = self.parameters.get(name)
        if name == BODY or (known and known.location != location):
            raise wrong(where, "Another parameter or the body has this name", _CHOOSE_HINT)
        if location == "header":
            _usable_header(name, where)
        schema = self._schema(self._document.resolved(raw.get("schema"), where), where)
        if not self._is_simple(schema):
            why = "It must be a string, a number, an integer, a boolean, or a list of these"
            raise wrong(where, why, _CHOOSE_HINT)
        described = {"description": raw["description"]} if raw.get("description") else {}
        self._properties[name] = {**schema, **described}
        self.parameters[name] = Parameter(name, location, raw.get("explode", location == "query") is True)
        self._require(name, schema, required=raw.get("required") is True)

    def _require(self, name: str, schema: Mapping[str, Any], *, required: bool) -> None:
        # The same parameter of the path may have been added before.
        self.required.discard(name)
        self.defaults.pop(name, None)
        if required and "default" in schema and self.parameters[name].location != "path":
            self.defaults[name] = schema["default"]
        elif required:
            self.required.add(name)

    def add_body(self, raw: Mapping[str, Any], method: str) -> None:
        contents = self._document.resolved(raw.get("content"), self._where)
        kinds = (kind for kind in contents if kind.partition(";")[0].strip().lower() == "application/json")
        kind = next(kinds, None)
        if kind is None or method == "get":
            why = "Its body must be JSON, and a GET has none"
            raise wrong(self._where, why, _CHOOSE_HINT)
        media = self._document.resolved(contents[kind], self._where)
        schema = self._schema(media.get("schema", True), self._where)
        described = {"description": raw["description"]} if raw.get("description") else {}
        self._properties[BODY] = {**schema, **described}
        if raw.get("required") is True:
            self.required.add(BODY)

    def written(self) -> Mapping[str, Any]:
        properties = self._properties
        schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
        if self.required:
            schema["required"] = [name for name in properties if name in self.required]
        if self._definitions:
            schema["$defs"] = self._definitions
        return schema

    def _schema(self, raw: object, where: str) -> dict[str, Any]:
        return self._document.schema(raw, self._definitions, where)

    def _is_simple(self, schema: object, *, in_list: bool = False) -> bool:
        """Whether its values are texts, numbers or booleans, or lists of these."""
        if not isinstance(schema, dict):
            return False
        if "$ref" in schema:
            return self._is_simple(self._definitions[schema["$ref"].rpartition("/")[2]], in_list=in_list)
        kinds = schema.get("type")
        kinds = set(kinds if isinstance(kinds, list) else [kinds] if kinds else ())
        if "array" in kinds and (in_list or not self._is_simple(schema.get("items"), in_list=True)):
            return False
        if kinds:
            return kinds <= {"string", "integer", "number", "boolean", "null", "array"}
        several = [one for word in ("anyOf", "oneOf", "allOf") for one in schema.get(word, ())]
        if several:
            return all(self._is_simple(one, in_list=in_list) for one in several)
        values = schema.get("enum", [schema["const"]] if "const" in schema else [{}])
        return not any(isinstance(value, dict | list) for value in values)


def _usable_header(name: str, where: str) -> None:
    try:
        check_header(name, "x", where)
    except UsageError as error:
        raise wrong(where, error.why, _CHOOSE_HINT) from error
