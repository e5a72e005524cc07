"""Write `kuadrant_crds.json`: what the manifests for Kuadrant may contain, from the resource definitions.

    uv run python -m tests.variations.kuadrant_table FOLDER

FOLDER has one Git repository for each project of `SOURCES`, and the table names their commits. It has facts
only, in the form that `workshop/toolhive/fields.py` explains, and only as deep as our manifests go: of an
object that they do not use, it has the type.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.toolhive.crd_table import Row, Schema, as_text, facts_of
from tests.variations.prefix_gateway import FOLDER

TABLE = Path(__file__).with_name("kuadrant_crds.json")
SOURCES = {
    "istio/api": "kubernetes/customresourcedefinitions.gen.yaml",
    "kubernetes-sigs/gateway-api": "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
    "Kuadrant/mcp-gateway": "config/crd/mcp.kuadrant.io_mcpserverregistrations.yaml",
    "Kuadrant/kuadrant-operator": "config/crd/bases/kuadrant.io_authpolicies.yaml",
}
_ENVELOPE = ("apiVersion", "kind", "metadata", "status")


def resources() -> list[dict[str, Any]]:
    """The manifests for Kuadrant, in the order in which they are applied."""
    files = (FOLDER / "kuadrant" / name for name in ("upstream.yaml", "policies.yaml"))
    return [found for file in files for found in yaml.safe_load_all(file.read_text("utf-8"))]


def key(resource: dict[str, Any]) -> str:
    """The key of a resource's kind in the table: its API version and its kind."""
    return f"{resource['apiVersion']} {resource['kind']}"


def _schemas(folder: Path) -> Iterator[tuple[str, Schema]]:
    for name, path in SOURCES.items():
        for crd in yaml.load_all(_git(folder / name, "show", f"HEAD:{path}"), yaml.CSafeLoader):
            spec = (crd or {}).get("spec", {})
            for version in spec.get("versions", ()):
                if version["served"] and not version.get("deprecated"):
                    kind = f"{spec['group']}/{version['name']} {spec['names']['kind']}"
                    yield kind, version["schema"]["openAPIV3Schema"]


def _git(repository: Path, *words: str) -> str:
    argv = ["git", "-C", str(repository), *words]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def _rows(value: Any, schema: Schema, path: str) -> Iterator[Row]:
    """The fields of `value`'s objects, and of the objects in it."""
    if isinstance(value, list):
        yield f"{path}*", facts_of(schema["items"], required=False)
        for entry in value:
            yield from _rows(entry, schema["items"], f"{path}*.")
    if not isinstance(value, dict):
        return
    if isinstance(others := schema.get("additionalProperties"), dict):
        yield f"{path}*", facts_of(others, required=False)
        for entry in value.values():
            yield from _rows(entry, others, f"{path}*.")
    for name, inner in schema.get("properties", {}).items():
        if path or name not in _ENVELOPE:
            facts = facts_of(inner, required=name in schema.get("required", ()))
            is_unused = name not in value and facts["type"] == "object"
            yield path + name, {**facts, "open": True} if is_unused else facts
            yield from _rows(value.get(name), inner, f"{path}{name}.")


def table(folder: Path) -> str:
    """The text of the table."""
    known, kinds = dict(_schemas(folder)), dict[str, dict[str, Any]]()
    for resource in resources():
        if key(resource) in known:  # Kubernetes' own Secret is in no definition
            rows = kinds.setdefault(key(resource), {})
            for path, facts in _rows(resource, known[key(resource)], ""):
                if path not in rows or rows[path].get("open"):
                    rows[path] = facts
    commits = {name: _git(folder / name, "rev-parse", "HEAD") for name in SOURCES}
    return as_text(commits, {kind: sorted(rows.items()) for kind, rows in kinds.items()})


if __name__ == "__main__":
    TABLE.write_text(table(Path(sys.argv[1])), encoding="utf-8")
