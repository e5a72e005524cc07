"""Load ToolHive manifests from a folder of YAML files, refusing what cannot be understood."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workshop.core.errors import UsageError
from workshop.toolhive.values import check_values

TOOLHIVE_API = "toolhive.stacklok.dev/v1beta1"

_API_OF_KIND = {
    "MCPServer": TOOLHIVE_API,
    "MCPOIDCConfig": TOOLHIVE_API,
    "MCPExternalAuthConfig": TOOLHIVE_API,
    "MCPRemoteProxy": TOOLHIVE_API,
    "MCPToolConfig": TOOLHIVE_API,
    "Secret": "v1",
}


@dataclass(frozen=True)
class Resource:
    """One document of a manifest, with the place it was read from."""

    kind: str
    name: str
    body: Mapping[str, Any]
    source: str

    @property
    def title(self) -> str:
        return f"{self.kind}/{self.name}"

    def find(self, path: str) -> Any:  # noqa: ANN401 - YAML holds anything
        """The value at a dotted path such as `spec.inline.issuer`, or None."""
        value: Any = self.body
        for key in path.split("."):
            if isinstance(value, Sequence) and key.isdigit():
                value = value[int(key)] if int(key) < len(value) else None
            else:
                value = value.get(key) if isinstance(value, Mapping) else None
        return value

    def text(self, path: str) -> str:
        """The string at a dotted path; raises UsageError when it is missing, empty or no string."""
        value = self.find(path)
        if isinstance(value, str) and value:
            return value
        problem = "is missing" if value in (None, "") else f"must be text, not {value!r}"
        raise self.error(f"`{path}` {problem}")

    def port(self, path: str, default: int) -> int:
        """The port at a dotted path; raises UsageError when it is not between 1 and 65535."""
        value = self.find(path)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 16:
            return value
        raise self.error(f"`{path}` must be a port between 1 and 65535, not {value!r}")

    def mapping(self, path: str) -> Mapping[str, Any]:
        """The mapping at a dotted path, empty when absent."""
        value = self.find(path)
        if value is None or isinstance(value, Mapping):
            return value or {}
        raise self.error(f"`{path}` must be a mapping, not {value!r}")

    def items(self, path: str) -> Sequence[Any]:
        """The list at a dotted path, empty when absent."""
        value = self.find(path)
        if value is None or (isinstance(value, Sequence) and not isinstance(value, str)):
            return value or ()
        raise self.error(f"`{path}` must be a list, not {value!r}")

    def error(self, problem: str, hint: str = "") -> UsageError:
        """An error about this resource that names its file."""
        return UsageError(f"{self.title}: {problem}", why=f"Read from {self.source}", hint=hint)


@dataclass(frozen=True)
class Resources:
    """The resources of one part; references resolve among them, as within one namespace."""

    all: tuple[Resource, ...]

    def of(self, kind: str) -> tuple[Resource, ...]:
        """All resources of a kind, in file order."""
        return tuple(resource for resource in self.all if resource.kind == kind)

    def named(self, kind: str, name: str, *, wanted_by: Resource) -> Resource:
        """The resource of that kind and name; raises UsageError naming who refers to it."""
        for resource in self.of(kind):
            if resource.name == name:
                return resource
        raise wanted_by.error(f"refers to {kind} `{name}`, which is not in this part's manifests")


def load(folder: Path) -> Resources:
    """Every document of every `*.yaml` in `folder`, in name order; an absent folder has none."""
    return _once([resource for path in sorted(folder.glob("*.yaml")) for resource in _documents(path)])


def load_file(path: Path) -> Resources:
    """Every document of one file."""
    return _once(list(_documents(path)))


def _once(found: Sequence[Resource]) -> Resources:
    titles = [resource.title for resource in found]
    for resource in found:
        if titles.count(resource.title) > 1:
            raise resource.error("is defined more than once in this part")
    return Resources(tuple(found))


def _documents(path: Path) -> Iterable[Resource]:
    import yaml

    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read the manifest `{path}`", why=str(error)) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UsageError(
            f"`{path}` is not YAML{where}",
            why=str(getattr(error, "problem", "") or "The text cannot be parsed"),
            hint="Check the indentation there; YAML takes spaces, never tabs",
        ) from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        # PyYAML's constructors let these out for a date, number or tag whose text they cannot take.
        raise UsageError(
            f"`{path}` has a value that YAML cannot read as what it claims to be",
            why=str(error)[:200] or type(error).__name__,
            hint="Put dates and unusual numbers in quotes, and use no tags",
        ) from error
    for number, body in enumerate(documents, start=1):
        if body is not None:
            check_values(body, f"{path}, document {number}")
            yield _resource(body, f"{path}, document {number}")


def _resource(body: object, source: str) -> Resource:
    if not isinstance(body, Mapping):
        raise UsageError("A manifest must be a mapping with `kind` and `metadata`", why=f"Read from {source}")
    kind, api = body.get("kind"), body.get("apiVersion")
    if not isinstance(kind, str) or kind not in _API_OF_KIND:
        known = ", ".join(_API_OF_KIND)
        raise UsageError(
            f"Unknown kind {kind!r}", why=f"Read from {source}", hint=f"This toolkit applies {known}"
        )
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str) or not _is_dns_label(name):
        raise UsageError(
            f"{kind}: `metadata.name` must be lower-case letters, digits and `-`, not {name!r}",
            why=f"Read from {source}",
        )
    resource = Resource(kind, name, body, source)
    if api != _API_OF_KIND[kind]:
        raise resource.error(f"`apiVersion` must be `{_API_OF_KIND[kind]}`, not {api!r}")
    return resource


def _is_dns_label(name: str) -> bool:
    inner = name.replace("-", "")
    edges = name[:1] + name[-1:]
    lower = inner.isascii() and inner.isalnum() and inner == inner.lower()
    return lower and "-" not in edges and len(name) <= 63  # noqa: PLR2004 - RFC 1123
