"""The schemas of an OpenAPI description, as one self-contained JSON Schema (2020-12) for each tool."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from workshop.core.errors import UsageError

_MAPS = ("properties", "patternProperties", "dependentSchemas")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_SINGLE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_NUMBER, _COUNT, _TEXT = (int, float), (int,), (str,)
_COPIED: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("minimum", "maximum", "multipleOf"), _NUMBER),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minContains", "maxContains"), _COUNT),
    **dict.fromkeys(("minProperties", "maxProperties"), _COUNT),
    **dict.fromkeys(("title", "description", "format"), _TEXT),
    "type": (str, list),
    "required": (list,),
    "uniqueItems": (bool,),
    "dependentRequired": (dict,),
    "const": (object,),
    "default": (object,),
}
_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
_LIMITS = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
_DEEPEST = 64


@dataclass(frozen=True)
class Document:
    """A whole description, in which local references lead somewhere."""

    root: Mapping[str, Any]

    @classmethod
    def of(cls, description: object) -> "Document":
        if not isinstance(description, dict):
            raise wrong("the description", "It must be a JSON object")
        return cls(description)

    def resolved(self, value: object, where: str) -> Mapping[str, Any]:
        """An object, or the one that a local `$ref` leads to; raises UsageError for anything else."""
        for _ in range(_DEEPEST):
            if not isinstance(value, dict):
                raise wrong(where, "It must be a JSON object")
            if not isinstance(reference := value.get("$ref"), str):
                return value
            value = self._found(reference, where)
        raise wrong(where, "Its references lead in a circle")

    def _found(self, reference: str, where: str) -> object:
        value: object = self.root
        if not reference.startswith("#/"):
            raise wrong(where, f"`{reference[:100]}` is in another document")
        for step in reference[2:].split("/"):
            # In this order, so that `~01` becomes `~1` (RFC 6901 section 4).
            name = unquote(step).replace("~1", "/").replace("~0", "~")
            if not isinstance(value, dict) or name not in value:
                raise wrong(where, f"`{reference[:100]}` leads nowhere")
            value = value[name]
        return value

    def schema(self, raw: object, definitions: dict[str, Any], where: str, depth: int = 0) -> dict[str, Any]:
        """A schema as JSON Schema 2020-12; what it refers to goes into `definitions`, by name.

        Examples, XML and other annotations are left out. Raises UsageError for what cannot be checked here.
        """
        if isinstance(raw, bool):
            return {} if raw else {"not": {}}
        if not isinstance(raw, dict) or depth > _DEEPEST:
            raise wrong(where, "A schema must be a JSON object, and not too deep")

        def inner(value: object) -> dict[str, Any]:
            return self.schema(value, definitions, where, depth + 1)

        made: dict[str, Any] = _copied(raw, where)
        if isinstance(reference := raw.get("$ref"), str):
            made["$ref"] = f"#/$defs/{self._define(reference, definitions, where)}"
        if raw.get("enum"):  # an empty one would forbid everything, and some generators write it
            made["enum"] = raw["enum"]
        if "pattern" in raw:
            made["pattern"] = _pattern(raw["pattern"], where)
        for key in raw.keys() & {*_MAPS, *_LISTS}:
            if not isinstance(raw[key], dict if key in _MAPS else list):
                raise wrong(where, f"`{key}` must be {'an object' if key in _MAPS else 'a list'}")
        made |= {key: {name: inner(one) for name, one in raw[key].items()} for key in _MAPS if key in raw}
        made |= {key: [inner(one) for one in raw[key]] for key in _LISTS if raw.get(key)}
        made |= {key: inner(raw[key]) for key in _SINGLE if key in raw}
        return _of_3_0(raw, made)

    def _define(self, reference: str, definitions: dict[str, Any], where: str) -> str:
        """The name of what a reference leads to; it is written out once, also if it refers to itself."""
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", reference.removeprefix("#/components/schemas/"))
        if name not in definitions:
            # Entered first, so that a schema that refers to itself ends here.
            definitions[name] = {}
            definitions[name] = self.schema(self._found(reference, where), definitions, where)
        return name


def _copied(raw: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The keywords without schemas in them; raises UsageError for one whose value has the wrong type."""
    found = {key: value for key, value in raw.items() if key in _COPIED}
    for key, value in found.items():
        if not isinstance(value, _COPIED[key]):
            raise wrong(where, f"`{key}` cannot be {str(value)[:80]!r}")
    kinds = found.get("type", [])
    if not all(
        isinstance(one, str) and one in _TYPES for one in ([kinds] if isinstance(kinds, str) else kinds)
    ):
        raise wrong(where, f"The type {str(kinds)[:80]!r} does not exist")
    return found


def _of_3_0(raw: Mapping[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    """What OpenAPI 3.0 writes in its own way: `nullable`, and exclusive limits as a flag."""
    for flag, limit in _LIMITS.items():
        if raw.get(flag) is True and limit in made:
            made[flag] = made.pop(limit)
        elif flag in raw and not isinstance(raw[flag], bool):
            made[flag] = raw[flag]
    if raw.get("nullable") is not True:
        return made
    rest: dict[str, Any] = {key: made.pop(key) for key in ("description", "title", "default") if key in made}
    return {"anyOf": [made, {"type": "null"}], **rest}


def _pattern(pattern: object, where: str) -> str:
    try:
        # jsonschema uses Python's `re`, which lacks some of JavaScript's syntax.
        re.compile(str(pattern))
    except re.error as error:
        raise wrong(where, f"The pattern {str(pattern)[:80]!r} cannot be checked here") from error
    return str(pattern)


def wrong(where: str, why: str, hint: str = "") -> UsageError:
    return UsageError(f"The OpenAPI description cannot be used at `{where}`", why=why, hint=hint)
