"""Write `workshop/toolhive/crds.json`: the fields of ToolHive's kinds, from its resource definitions.

    uv run python -m tests.toolhive.crd_table VERSION CRDS [OLDER_VERSION OLDER_CRDS]

CRDS is a folder with the definitions as YAML files: those of the chart `toolhive-operator-crds`, unpacked.
The table holds facts only: no description, no default and no CEL rule. `workshop/toolhive/fields.py` explains
its form. With the CRDs of an older version, the table marks each field that the older version lacks.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from workshop.toolhive.fields import TABLE
from workshop.toolhive.manifests import TOOLHIVE_API

Schema = Mapping[str, Any]
Row = tuple[str, Mapping[str, Any]]
_ELSEWHERE = ("apiVersion", "kind", "metadata", "status")  # Kubernetes' own, or written by the operator alone
_BOUNDS = {
    **dict.fromkeys(("minimum", "minLength", "minItems", "minProperties"), "least"),
    **dict.fromkeys(("maximum", "maxLength", "maxItems", "maxProperties"), "most"),
}


@cache
def schemas(folder: Path) -> dict[str, Schema]:
    """The OpenAPI schema of each kind, in the API version that our manifests name."""
    group, _, version = TOOLHIVE_API.partition("/")
    found = {}
    for path in sorted(folder.glob("*.yaml")):
        # A megabyte of YAML takes seconds in Python, and a tenth of that in C.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        spec = yaml.load(path.read_text("utf-8"), loader)["spec"]
        assert spec["group"] == group
        (served,) = [item for item in spec["versions"] if item["name"] == version and item["served"]]
        found[spec["names"]["kind"]] = served["schema"]["openAPIV3Schema"]
    return found


def table(version: str, crds: Path, older_version: str = "", older_crds: Path | None = None) -> str:
    """The text of the table: JSON with one line for each field."""
    older = schemas(older_crds) if older_crds else {}
    kinds = {}
    for kind, schema in schemas(crds).items():
        kinds[kind] = list(_fields(schema, older.get(kind, {}), ""))
    return as_text({"toolhive": version, "older": older_version}, kinds)


def as_text(head: Mapping[str, str], kinds: Mapping[str, Iterable[Row]]) -> str:
    """A table as JSON with one line for each field; `head` is what it was made from."""
    tables = []
    for kind, rows in kinds.items():
        bare = ((path, facts["type"] if len(facts) == 1 else facts) for path, facts in rows)
        lines = (f"   {json.dumps(path)}: {json.dumps(facts, ensure_ascii=False)}" for path, facts in bare)
        tables.append(f"  {json.dumps(kind)}: {{\n" + ",\n".join(lines) + "\n  }")
    first = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    return "\n".join(["{", *first, ' "kinds": {', ",\n".join(tables), " }", "}", ""])


def _fields(schema: Schema, older: Schema | None, path: str) -> Iterator[Row]:
    """Every field below this one; `*` is an entry of a list, or a value of a mapping with free keys."""
    inside = dict(schema.get("properties", {}))
    before = (older or {}).get("properties", {})
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), Mapping):
            inside["*"] = schema[key]
            before = {"*": (older or {}).get(key)}
    for name, inner in inside.items():
        if path + name in _ELSEWHERE:
            continue
        facts = facts_of(inner, required=name in schema.get("required", ()))
        if older is not None and before.get(name) is None:  # what is inside a new field needs no mark
            facts["new"] = True
        yield f"{path}{name}", facts
        yield from _fields(inner, before.get(name), f"{path}{name}.")


def facts_of(schema: Schema, *, required: bool) -> dict[str, Any]:
    """What a table has about one field; `workshop/toolhive/fields.py` explains each fact."""
    facts: dict[str, Any] = {"type": schema.get("type", "any")}
    if schema.get("format") == "int32":
        facts["type"] = "int32"
    if required and "default" not in schema:  # the API server fills in a default before it looks
        facts["required"] = True
    if "enum" in schema:
        facts["enum"] = schema["enum"]
    if "pattern" in schema:
        facts["pattern"] = schema["pattern"].replace("[:space:]", r"\s")  # Python has no POSIX classes
    facts |= {_BOUNDS[key]: bound for key, bound in schema.items() if key in _BOUNDS}
    if "x-kubernetes-list-map-keys" in schema:
        facts["unique"] = schema["x-kubernetes-list-map-keys"]
    if schema.get("x-kubernetes-list-type") == "set":
        facts["unique"] = []
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        facts["open"] = True
    return facts


if __name__ == "__main__":
    version, crds, *rest = sys.argv[1:]
    older = (rest[0], Path(rest[1])) if rest else ()
    TABLE.write_text(table(version, Path(crds), *older), encoding="utf-8")
