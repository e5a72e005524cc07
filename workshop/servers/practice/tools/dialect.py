"""JSON schemas as GitHub's MCP server writes them."""

from typing import Any

Schema = dict[str, Any]


def in_github_dialect(schema: Schema) -> Schema:
    """The schema of a tool's arguments without titles and nulls, whole numbers as `number`."""
    properties = {name: _argument(argument) for name, argument in schema.get("properties", {}).items()}
    required = {"required": schema["required"]} if schema.get("required") else {}
    return {"type": "object", "properties": properties, **required}


def _argument(schema: Schema) -> Schema:
    flat = dict(schema)
    for option in flat.pop("anyOf", ()):
        if option.get("type") != "null":
            flat = {**option, **flat}
    flat.pop("title", None)
    if flat.get("default", ...) is None:
        del flat["default"]
    if flat.get("type") == "integer":
        flat["type"] = "number"
    return flat
