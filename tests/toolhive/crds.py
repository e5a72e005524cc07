"""What the Kubernetes API server does with a custom resource before it stores it, from the CRD's own schema.

Defaults first, then the structure (unknown fields, types, required, enums, patterns, map lists), then the CEL
rules. Rules about a change (`oldSelf`) have nothing to say of a new object and are left out.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from cel_expr_python import cel
from jsonschema import Draft202012Validator

from workshop.toolhive.manifests import TOOLHIVE_API, Resource

Schema = Mapping[str, Any]
_ENVIRONMENT = cel.NewEnv(  # with the string functions that an API server has too
    config=cel.NewEnvConfigFromYaml("extensions:\n- name: strings\n"), variables={"self": cel.Type.DYN}
)


class Crd:
    """The schema of one kind, in the version that our manifests name."""

    def __init__(self, path: Path) -> None:
        spec = yaml.safe_load(path.read_text("utf-8"))["spec"]
        self.kind: str = spec["names"]["kind"]
        group, _, version = TOOLHIVE_API.partition("/")
        assert spec["group"] == group
        (found,) = [item for item in spec["versions"] if item["name"] == version and item["served"]]
        self._schema: Schema = found["schema"]["openAPIV3Schema"]
        self._validator = Draft202012Validator(_closed(self._schema))

    def refusals(self, resource: Resource) -> list[str]:
        """Why the API server would refuse it: first of structure, and if that holds, of rules."""
        body = _with_defaults(_plain(resource.body), self._schema)
        errors = [f"{error.json_path}: {error.message}" for error in self._validator.iter_errors(body)]
        return [*errors, *_repeated_keys(body, self._schema, "$")] or list(
            _broken_rules(body, self._schema, "$")
        )

    def knows(self, path: str) -> bool:
        """Whether there is a field at a dotted path."""
        schema = self._schema
        for name in path.split("."):
            schema = schema.get("properties", {}).get(name)
            if schema is None:
                return False
        return True

    def programs(self) -> list[cel.Expression]:
        """Every rule that speaks of an object by itself, compiled."""
        return [program(rule["rule"]) for schema in _all_schemas(self._schema) for rule in _rules(schema)]


@cache
def program(rule: str) -> cel.Expression:
    """A compiled CEL rule."""
    return _ENVIRONMENT.compile(rule)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _with_defaults(value: Any, schema: Schema) -> Any:
    if isinstance(value, dict):
        for name, inner in schema.get("properties", {}).items():
            if name not in value and "default" in inner:
                value[name] = _plain(inner["default"])
    for name, inner, child in _children(value, schema):
        value[name] = _with_defaults(child, inner)
    return value


def _children(value: Any, schema: Schema) -> Iterator[tuple[Any, Schema, Any]]:
    """Each value inside this one that the schema describes: its key or index, its schema, itself."""
    if isinstance(value, dict):
        named, others = schema.get("properties", {}), schema.get("additionalProperties")
        for name, child in list(value.items()):
            inner = named.get(name, others)
            if isinstance(inner, Mapping):
                yield name, inner, child
    elif isinstance(value, list) and "items" in schema:
        for index, child in enumerate(value):
            yield index, schema["items"], child


def _closed(schema: Schema) -> dict[str, Any]:
    """The same as JSON Schema: what a structural schema does not name is not allowed."""
    closed = {key: value for key, value in schema.items() if not key.startswith("x-") and key != "format"}
    if "properties" in schema:
        closed["properties"] = {name: _closed(inner) for name, inner in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            closed.setdefault("additionalProperties", False)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), Mapping):
            closed[key] = _closed(schema[key])
    if schema.get("x-kubernetes-int-or-string"):
        closed |= {"type": ["integer", "string"]}
    if schema.get("nullable"):
        closed["type"] = [schema["type"], "null"]
    return closed


def _repeated_keys(value: Any, schema: Schema, path: str) -> Iterator[str]:
    keys = schema.get("x-kubernetes-list-map-keys")
    if keys and isinstance(value, list):
        names = [tuple(str(item.get(key)) for key in keys) for item in value]
        if len(set(names)) < len(names):
            yield f"{path}: the same {', '.join(keys)} comes twice"
    for name, inner, child in _children(value, schema):
        yield from _repeated_keys(child, inner, f"{path}.{name}")


def _broken_rules(value: Any, schema: Schema, path: str) -> Iterator[str]:
    for rule in _rules(schema):
        answer = program(rule["rule"]).eval(data={"self": value})
        if answer.type() != cel.Type.BOOL:
            yield f"{path}: {rule['rule']}: {answer.value()}"
        elif not answer.value():
            yield f"{path}: {rule.get('message', rule['rule'])}"
    for name, inner, child in _children(value, schema):
        yield from _broken_rules(child, inner, f"{path}.{name}")


def _rules(schema: Schema) -> Iterator[Mapping[str, str]]:
    yield from (rule for rule in schema.get("x-kubernetes-validations", ()) if "oldSelf" not in rule["rule"])


def _all_schemas(schema: Schema) -> Iterator[Schema]:
    yield schema
    inside = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for inner in inside:
        if isinstance(inner, Mapping):
            yield from _all_schemas(inner)
