"""What the Kubernetes API server does with a custom resource before it stores it, from the CRD's own schema.

Defaults first, then the structure (unknown fields, types, required, enums, patterns, map lists), then the CEL
rules. Rules about a change (`oldSelf`) do not apply to a new object and are left out.

Where the CRDs are not at hand, the schema comes from our table of their fields: the structure without rules.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator

from tests.toolhive.crd_table import Schema, schemas
from workshop.core import paths
from workshop.toolhive import fields

if TYPE_CHECKING:
    from cel_expr_python import cel

    from workshop.toolhive.manifests import Resource

# ToolHive's CRDs lie beside the checkout, because they are not ours to hand on: those of the pinned version,
# and of an older one that may be on a cluster already.
FOLDERS = {"0.63.0": "toolhive-crds-0.63", "0.44.0": "toolhive-crds"}
PINNED, OLDER = FOLDERS
HAS_CEL = find_spec("cel_expr_python") is not None  # it has wheels for some versions of Python only
_INT32 = 1 << 31
_BOUNDS = {
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
    "object": ("minProperties", "maxProperties"),
}


def crds_folder(version: str) -> Path | None:
    """Where the CRDs of a version are, or None where they are not at hand."""
    checkout = paths.checkout_dir()
    folder = checkout.parent / "shared" / FOLDERS[version] if checkout else None
    return folder if folder and folder.is_dir() else None


def crds_of(version: str) -> dict[str, "Crd"]:
    """Every kind of a version: from its CRDs where they are at hand, otherwise from our table."""
    folder = crds_folder(version)
    found = schemas(folder) if folder else from_table(older=version == OLDER)
    return {kind: Crd(schema) for kind, schema in found.items()}


def from_table(*, older: bool = False) -> dict[str, Schema]:
    """Schemas with what our table says; for the older version, without the fields that it lacks."""
    return {kind: _schema(known, older=older) for kind, known in fields.kinds().items() if kind != "Secret"}


def _schema(known: fields.Field, *, older: bool) -> dict[str, Any]:
    facts, name = known.facts, known.facts["type"]
    least, most = _BOUNDS.get(name, ("minimum", "maximum"))
    keywords = {"enum": "enum", "pattern": "pattern", "least": least, "most": most}
    schema = {keyword: facts[fact] for fact, keyword in keywords.items() if fact in facts}
    if name != "any":
        schema |= {"type": "integer", "format": name} if name == "int32" else {"type": name}
    if "unique" in facts:
        schema["x-kubernetes-list-map-keys"] = facts["unique"]
    if facts.get("open"):
        schema["x-kubernetes-preserve-unknown-fields"] = True
    inside = {
        key: _schema(inner, older=older)
        for key, inner in known.inside.items()
        if not (older and inner.facts.get("new"))
    }
    each = inside.pop("*", None)
    if inside:
        schema["properties"] = inside
        schema["required"] = [key for key in inside if known.inside[key].facts.get("required")]
    if each is not None:
        schema["items" if name == "array" else "additionalProperties"] = each
    return schema


class Crd:
    """The schema of one kind, in the version that our manifests name."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._validator = Draft202012Validator(_closed(schema))

    def refusals(self, resource: "Resource", *, rules: bool = HAS_CEL) -> list[str]:
        """Why the API server would refuse it: first of structure, and if that holds, of rules."""
        body = _with_defaults(_plain(resource.body), self._schema)
        errors = [f"{error.json_path}: {error.message}" for error in self._validator.iter_errors(body)]
        errors += _repeated_keys(body, self._schema, "$")
        return errors or list(_broken_rules(body, self._schema, "$") if rules else ())

    def knows(self, path: str) -> bool:
        """Whether there is a field at a dotted path."""
        schema = self._schema
        for name in path.split("."):
            schema = schema.get("properties", {}).get(name)
            if schema is None:
                return False
        return True

    def programs(self) -> "list[cel.Expression]":
        """Every rule that speaks of an object by itself, compiled."""
        return [program(rule["rule"]) for schema in _all_schemas(self._schema) for rule in _rules(schema)]


@cache
def program(rule: str) -> "cel.Expression":
    """A compiled CEL rule, with the string functions that an API server has too."""
    return _environment().compile(rule)


@cache
def _environment() -> "cel.Env":
    from cel_expr_python import cel

    config = cel.NewEnvConfigFromYaml("extensions:\n- name: strings\n")
    return cel.NewEnv(config=config, variables={"self": cel.Type.DYN})


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
    if schema.get("format") == "int32":  # JSON Schema does not know it; the API server holds a value to it
        closed["minimum"] = max(schema.get("minimum", -_INT32), -_INT32)
        closed["maximum"] = min(schema.get("maximum", _INT32 - 1), _INT32 - 1)
    if schema.get("x-kubernetes-int-or-string"):
        closed |= {"type": ["integer", "string"]}
    if schema.get("nullable"):
        closed["type"] = [schema["type"], "null"]
    return closed


def _repeated_keys(value: Any, schema: Schema, path: str) -> Iterator[str]:
    keys = schema.get("x-kubernetes-list-map-keys")
    if schema.get("x-kubernetes-list-type") == "set":
        keys = []
    if keys is not None and isinstance(value, list):
        names = [[entry.get(key) for key in keys] if isinstance(entry, Mapping) else entry for entry in value]
        if any(name in names[:number] for number, name in enumerate(names)):
            yield f"{path}: the same {', '.join(keys) or 'entry'} comes twice"
    for name, inner, child in _children(value, schema):
        yield from _repeated_keys(child, inner, f"{path}.{name}")


def _broken_rules(value: Any, schema: Schema, path: str) -> Iterator[str]:
    for rule in _rules(schema):
        from cel_expr_python import cel

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
