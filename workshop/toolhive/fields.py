"""Check every field of a manifest: its name, type, allowed values, pattern, bounds, and embedded meaning.

The facts are in `crds.json`, one line for each field of ToolHive's custom resource definitions (CRDs), which
`tests/toolhive/crd_table.py` writes. In a path, `*` is an entry of a list, or a value of a mapping with free
keys. A bare text is the type; otherwise the facts are:

- `type`: a type of JSON Schema, `int32`, or `any`
- `required`: the field must be there, and has no default
- `enum`, `pattern`: the allowed values; a regular expression that the text must match
- `least`, `most`: bounds of a number, of the length of a text, or of the number of entries
- `unique`: the keys in which no two entries of a list may agree; an empty list means the whole entry
- `open`: fields that the definition does not name are allowed
- `new`: the field is missing in the version `older`, which may be on a cluster already
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from workshop.toolhive.manifests import Resource, Resources

TABLE = Path(__file__).parent / "crds.json"
_INT32 = 1 << 31
_MOST_NAMES = 8
_LONGEST_VALUE = 60
_TYPES: Mapping[str, tuple[str, type | tuple[type, ...]]] = {
    "string": ("text", str),
    "boolean": ("true or false", bool),
    "integer": ("a whole number", int),
    "int32": ("a whole number", int),
    "number": ("a number", (int, float)),
    "array": ("a list", list),
    "object": ("a mapping", Mapping),
    "any": ("anything", object),
}
# Kubernetes' own fields, which are in no CRD. The operator alone writes `status`.
_ENVELOPE = {
    "apiVersion": "string",
    "kind": "string",
    "metadata": "object",
    **dict.fromkeys(("metadata.name", "metadata.generateName", "metadata.namespace"), "string"),
    **dict.fromkeys(("metadata.uid", "metadata.resourceVersion", "metadata.selfLink"), "string"),
    **dict.fromkeys(("metadata.creationTimestamp", "metadata.deletionTimestamp"), "string"),
    **dict.fromkeys(("metadata.generation", "metadata.deletionGracePeriodSeconds"), "integer"),
    **dict.fromkeys(("metadata.labels", "metadata.annotations"), "object"),
    **dict.fromkeys(("metadata.labels.*", "metadata.annotations.*"), "string"),
    **dict.fromkeys(("metadata.finalizers", "metadata.managedFields", "metadata.ownerReferences"), "array"),
}
_SECRET = {
    "type": "string",
    "immutable": "boolean",
    **dict.fromkeys(("data", "stringData"), "object"),
    **dict.fromkeys(("data.*", "stringData.*"), "string"),
}


# What the embedded backend makes of the fields; `workshop help backends` and the README show it to people.
_AUTH = "spec.embeddedAuthServer"
_UPSTREAM = f"{_AUTH}.upstreamProviders.*"
ACTED_ON: Mapping[str, Sequence[str]] = {
    "MCPServer": ("spec.transport", "spec.env", "spec.secrets", "spec.toolConfigRef"),
    "MCPRemoteProxy": (
        *("spec.remoteUrl", "spec.transport", "spec.proxyPort", "spec.replicas", "spec.authServerRef"),
        *("spec.externalAuthConfigRef", "spec.oidcConfigRef", "spec.headerForward", "spec.toolConfigRef"),
    ),
    "MCPOIDCConfig": ("spec.type", "spec.inline.issuer"),
    "MCPExternalAuthConfig": (
        *("spec.type", f"{_AUTH}.issuer", f"{_AUTH}.signingKeySecretRefs", f"{_AUTH}.hmacSecretRefs"),
        *(f"{_AUTH}.tokenLifespans", f"{_AUTH}.registrationRateLimit", f"{_AUTH}.storage.type"),
        *(f"{_AUTH}.storage.maxDCRClients", f"{_AUTH}.baselineClientScopes", f"{_AUTH}.cimd"),
        *(f"{_AUTH}.allowConfidentialClientRegistration", f"{_UPSTREAM}.name", f"{_UPSTREAM}.type"),
        f"{_AUTH}.insecureAllowConfidentialOverLoopbackHTTP",
        *(f"{_UPSTREAM}.oauth2Config.{name}" for name in ("authorizationEndpoint", "tokenEndpoint")),
        *(f"{_UPSTREAM}.oauth2Config.{name}" for name in ("clientId", "clientSecretRef", "redirectUri")),
        *(f"{_UPSTREAM}.oauth2Config.{name}" for name in ("scopes", "userInfo")),
    ),
    "MCPToolConfig": ("spec.toolsFilter", "spec.toolsOverride"),
}
IGNORED: Mapping[str, Sequence[str]] = {
    "MCPServer": (
        *("spec.image", "spec.mcpPort", "spec.proxyPort", "spec.podTemplateSpec", "spec.resources"),
        *("spec.resourceOverrides", "spec.serviceAccount", "spec.permissionProfile", "spec.replicas"),
        *("spec.backendReplicas", "spec.sessionAffinity", "spec.groupRef"),
    ),
    "MCPRemoteProxy": (
        *("spec.podTemplateSpec", "spec.resources", "spec.resourceOverrides", "spec.serviceAccount"),
        *("spec.sessionAffinity", "spec.groupRef", "spec.allowPrivateEndpoint"),
    ),
    "MCPOIDCConfig": (
        *("spec.inline.insecureAllowHTTP", "spec.inline.jwksAllowPrivateIP"),
        "spec.inline.protectedResourceAllowPrivateIP",
    ),
    "MCPExternalAuthConfig": (
        # ToolHive itself ignores the second for a proxy, which has one upstream.
        *(f"{_AUTH}.insecureAllowHTTP", f"{_AUTH}.primaryUpstreamProvider"),
        *(f"{_UPSTREAM}.oauth2Config.{name}" for name in ("insecureAllowHTTP", "allowPrivateIPs")),
    ),
}
"""Fields of pods, Services and the cluster's network; without a cluster they make no difference."""


@dataclass(frozen=True)
class Field:
    """The facts about one field, and the fields inside it by name."""

    facts: Mapping[str, Any]
    inside: dict[str, "Field"] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """One fault in a manifest: its path, the problem as the end of a sentence, and what to do about it."""

    path: str
    problem: str
    hint: str = ""
    is_unknown: bool = False


def check_names(resource: Resource) -> None:
    """Raise UsageError at the first field that is unknown, or misspelt."""
    _raise_first(resource, [fault for fault in faults_of(resource) if fault.is_unknown])


def check(resource: Resource) -> None:
    """Raise UsageError at the first fault of any kind."""
    _raise_first(resource, faults_of(resource))


def _raise_first(resource: Resource, faults: Sequence[Fault]) -> None:
    for fault in faults[:1]:
        raise resource.error(f"`{fault.path}` {fault.problem}", fault.hint)


def faults_of(resource: Resource) -> list[Fault]:
    """Every fault of a resource; none for a kind that is not ToolHive's and not a Secret."""
    kind = kinds().get(resource.kind)
    return list(_faults(resource.body, kind, "")) if kind else []


@cache
def kinds() -> Mapping[str, Field]:
    """The fields of each kind of ToolHive, and of a Secret."""
    return {**read_table(TABLE), "Secret": _tree(_SECRET)}


def read_table(path: Path) -> dict[str, Field]:
    """The fields of each kind of a table."""
    return {kind: _tree(rows) for kind, rows in json.loads(path.read_text("utf-8"))["kinds"].items()}


def _tree(rows: Mapping[str, Any]) -> Field:
    root = Field({"type": "object"}, {"status": Field({"type": "object", "open": True})})
    for path, facts in {**_ENVELOPE, **rows}.items():
        parent = root
        *parents, name = path.split(".")
        for key in parents:
            parent = parent.inside[key]
        parent.inside[name] = Field({"type": facts} if isinstance(facts, str) else facts)
    return root


def _faults(value: object, known: Field, path: str) -> Iterator[Fault]:
    if not _has_type(value, known.facts["type"]):
        yield _wrong_type(value, known.facts["type"], path)
        return
    if problem := _problem(value, known.facts):
        yield Fault(path, problem)
    if isinstance(value, Mapping):
        yield from _faults_inside(value, known, f"{path}." if path else "")
    elif isinstance(value, list) and "*" in known.inside:
        for index, entry in enumerate(value):
            yield from _faults(entry, known.inside["*"], f"{path}.{index}")


def _faults_inside(value: Mapping[str, object], known: Field, prefix: str) -> Iterator[Fault]:
    for name, inner in value.items():
        allowed = known.inside.get(name) or known.inside.get("*")
        if allowed is None and not known.facts.get("open"):
            yield _unknown(name, value, known, prefix)
        elif allowed is not None and inner is not None:  # the API server drops a field that is null
            yield from _faults(inner, allowed, prefix + name)
    for name, wanted in known.inside.items():
        if wanted.facts.get("required") and value.get(name) is None:
            yield Fault(prefix + name, "is missing")


def _unknown(name: str, value: Mapping[str, object], known: Field, prefix: str) -> Fault:
    free = {other.lower(): other for other in known.inside if other not in value and other != "status"}
    near = difflib.get_close_matches(name.lower(), free, n=1)
    names = list(free.values())[:_MOST_NAMES]
    hint = f"Fields that you can add there: {', '.join(names)}{', …' if len(free) > _MOST_NAMES else ''}"
    if near:
        hint = f"Did you mean `{free[near[0]]}`?"
    elif not names:
        hint = "Remove it"
    return Fault(prefix + name, "is not a known field", hint, is_unknown=True)


def _has_type(value: object, name: str) -> bool:
    # Python counts a boolean as an integer; the API server does not.
    if isinstance(value, bool):
        return name in ("boolean", "any")
    if isinstance(value, float) and name in ("integer", "int32"):
        return value.is_integer()  # the API server takes 8080.0 as a whole number
    return isinstance(value, _TYPES[name][1])


def _wrong_type(value: object, name: str, path: str) -> Fault:
    """The value itself is not shown: it may be a header or a secret."""
    found = next(text for known, (text, _) in _TYPES.items() if _has_type(value, known))
    found = {"true or false": "a boolean", "anything": "empty"}.get(found, found)
    # YAML reads an unquoted `on` or `1.10` as another type.
    hint = "Put it in quotes" if name == "string" and not isinstance(value, Mapping | list) else ""
    return Fault(path, f"must be {_TYPES[name][0]}, not {found}", hint)


def _problem(value: Any, facts: Mapping[str, Any]) -> str:  # noqa: ANN401 - YAML holds anything
    """What is wrong with a value of the right type, without what is inside it; empty when nothing is."""
    allowed, pattern = facts.get("enum"), facts.get("pattern")
    if allowed and value not in allowed:
        return f"must be one of {', '.join(f'`{text}`' for text in allowed)}, not {_shown(value)}"
    if problem := _out_of_bounds(value, facts):
        return problem
    if pattern and not _pattern(pattern).search(value):
        return f"must match `{pattern}`, not {_shown(value)}"
    return _repeated(value, facts["unique"]) if "unique" in facts else ""


@cache
def _pattern(text: str) -> re.Pattern[str]:
    """A pattern as Go reads it: `$` is the very end, and the classes of characters are ASCII only."""
    return re.compile(text.removesuffix("$") + r"\Z" if text.endswith("$") else text, re.ASCII)


def _out_of_bounds(value: Any, facts: Mapping[str, Any]) -> str:  # noqa: ANN401 - YAML holds anything
    least, most = facts.get("least"), facts.get("most")
    if facts["type"] == "int32" and not -_INT32 <= value < _INT32:
        return f"must fit into 32 bits, not {_shown(value)}"
    is_number = isinstance(value, int | float)
    size = value if is_number else len(value) if least is not None or most is not None else 0
    if (least is None or size >= least) and (most is None or size <= most):
        return ""
    bounds = f"at least {least}" if most is None else f"at most {most}"
    if least is not None and most is not None:
        bounds = f"between {least} and {most}"
    if is_number:
        return f"must be {bounds}, not {_shown(value)}"
    unit = "characters" if isinstance(value, str) else "entries"
    return f"must have {bounds} {unit}, not {size}"


def _repeated(entries: Sequence[Any], keys: Sequence[str]) -> str:
    found = []
    for entry in entries:
        mine = [entry.get(key) for key in keys] if keys and isinstance(entry, Mapping) else entry
        if mine in found:
            what = ", ".join(f"`{value}`" for value in mine) if isinstance(mine, list) else f"`{mine}`"
            return f"has {what} more than once"
        found.append(mine)
    return ""


def _shown(value: object) -> str:
    return repr(value) if len(repr(value)) <= _LONGEST_VALUE else f"{repr(value)[:_LONGEST_VALUE]}…"


def check_embedded(resources: Resources) -> None:
    """Raise UsageError at the first field that has a value, and no meaning in the embedded backend.

    A manifest that is silently half obeyed teaches something wrong, and may leave open what it protects.
    """
    for resource in resources.all:
        known = (*ACTED_ON.get(resource.kind, ()), *IGNORED.get(resource.kind, ()))
        for path in _unknown_paths(resource.body.get("spec"), "spec", "spec", known) if known else ():
            raise resource.error(
                f"`{path}` has no meaning in the embedded backend", "Remove it, or use `up --backend kind`"
            )


def _unknown_paths(value: object, path: str, rule: str, known: Sequence[str]) -> Iterator[str]:
    """The paths of fields that are not known; `rule` is the path with `*` for the entries of a list."""
    # An empty value requests nothing; 0 is equal to False here.
    if rule in known or value in (None, False, "", [], {}):
        return
    if not any(each.startswith(f"{rule}.") for each in known):
        yield path
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _unknown_paths(inner, f"{path}.{name}", f"{rule}.{name}", known)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _unknown_paths(inner, f"{path}.{index}", f"{rule}.*", known)
