"""Load ToolHive manifests from YAML files, and refuse what cannot be understood.

A manifest may hold the values that JSON can, within bounds; YAML's other types are refused.
"""

import copy
import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workshop.core.encoding import shallow
from workshop.core.errors import UsageError, reason
from workshop.core.files import DamagedFileError, read_bounded
from workshop.core.text import DNS_LABEL

API_GROUP = "toolhive.stacklok.dev"
TOOLHIVE_API = f"{API_GROUP}/v1beta1"
UPSTREAM = "spec.embeddedAuthServer.upstreamProviders.0"  # the one upstream provider of an auth config
UPSTREAM_OAUTH = f"{UPSTREAM}.oauth2Config"
CLIENT_ID_PLACEHOLDER = "replace-with-your-github-oauth-client-id"  # in part 4's manifest

_API_OF_KIND = {
    "MCPServer": TOOLHIVE_API,
    "MCPOIDCConfig": TOOLHIVE_API,
    "MCPExternalAuthConfig": TOOLHIVE_API,
    "MCPRemoteProxy": TOOLHIVE_API,
    "MCPToolConfig": TOOLHIVE_API,
    "Secret": "v1",
}
_OF_GATEWAYS = ("MCPGroup", "MCPServerEntry", "VirtualMCPServer")  # only where `load` is asked for them
_MOST_VALUES = 10_000
_DEEPEST = 50
_LARGEST = 1 << 63
_PLAIN = (str, int, float, bool, type(None))  # the types of values that JSON has, besides lists and mappings
_UNIT_SECONDS = {"h": 3600, "m": 60, "s": 1}
_TERM = re.compile(r"([0-9]{1,9})([hms])")


@dataclass(frozen=True)
class Resource:
    """One document of a manifest, and the file that it was read from."""

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
        """The string at a dotted path; raises UsageError when it is missing, empty or not a string."""
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
        # YAML's `true` is 1 in Python.
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
    """The resources of one part; they refer to each other, as within one namespace."""

    all: tuple[Resource, ...]

    def of(self, kind: str) -> tuple[Resource, ...]:
        """All resources of a kind, in file order."""
        return tuple(resource for resource in self.all if resource.kind == kind)

    @property
    def workloads(self) -> tuple[Resource, ...]:
        """What the operator makes pods of: the servers, then the proxies and gateways in front of them."""
        kinds = ("MCPServer", "MCPRemoteProxy", "VirtualMCPServer")
        return tuple(found for kind in kinds for found in self.of(kind))

    def named(self, kind: str, name: str, *, wanted_by: Resource) -> Resource:
        """The resource of that kind and name; raises UsageError that names the resource that refers to it."""
        for resource in self.of(kind):
            if resource.name == name:
                return resource
        raise wanted_by.error(f"refers to {kind} `{name}`, which is not in this part's manifests")


def auth_config(proxy: Resource, resources: Resources) -> Resource | None:
    """The MCPExternalAuthConfig that a proxy refers to, or None when it refers to none."""
    for reference in ("authServerRef", "externalAuthConfigRef"):
        if proxy.find(f"spec.{reference}"):
            name = proxy.text(f"spec.{reference}.name")
            return resources.named("MCPExternalAuthConfig", name, wanted_by=proxy)
    return None


def oidc_config(proxy: Resource, resources: Resources) -> Resource:
    """The MCPOIDCConfig a proxy refers to."""
    return resources.named("MCPOIDCConfig", proxy.text("spec.oidcConfigRef.name"), wanted_by=proxy)


def load(folder: Path, *, gateways: bool = False) -> Resources:
    """Every document of each `*.yaml` in `folder`, in the order of names; none when the folder is absent.

    With `gateways`, the kinds of a gateway in front of several servers are known too.
    """
    paths = sorted(folder.glob("*.yaml"))
    return _once([resource for path in paths for resource in _documents(path, gateways=gateways)])


def load_file(path: Path) -> Resources:
    """Every document of one file."""
    return _once(list(_documents(path)))


def _once(found: Sequence[Resource]) -> Resources:
    titles = [resource.title for resource in found]
    for resource in found:
        if titles.count(resource.title) > 1:
            raise resource.error("is defined more than once in this part")
    return Resources(tuple(found))


def _documents(path: Path, *, gateways: bool = False) -> Iterable[Resource]:
    import yaml

    try:
        # A copy, because the cached documents are shared by all who read this file.
        documents = copy.deepcopy(_parsed(read_bounded(path).decode("utf-8")))
    except (OSError, UnicodeDecodeError, DamagedFileError) as error:
        raise UsageError(f"Cannot read the manifest `{path}`", why=reason(error)) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UsageError(
            f"`{path}` is not YAML{where}",
            why=str(getattr(error, "problem", "") or "The text cannot be parsed"),
            hint="Check the indentation there: YAML takes spaces, never tabs",
        ) from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        # PyYAML raises these for a date, a number or a tag with a text that it cannot convert.
        raise UsageError(
            f"`{path}` has a value that YAML cannot convert to its type",
            why=str(error)[:200] or type(error).__name__,
            hint="Put dates and unusual numbers in quotes, and use no tags",
        ) from error
    for number, body in enumerate(documents, start=1):
        if body is not None:
            _check_values(body, f"{path}, document {number}")
            yield _resource(body, f"{path}, document {number}", gateways=gateways)


@functools.lru_cache(maxsize=32)  # an `up` reads each manifest several times
def _parsed(text: str) -> list[Any]:
    import yaml

    return shallow(list(yaml.safe_load_all(text)))


def _resource(body: object, source: str, *, gateways: bool) -> Resource:
    if not isinstance(body, Mapping):
        raise UsageError("A manifest must be a mapping with `kind` and `metadata`", why=f"Read from {source}")
    kind, api = body.get("kind"), body.get("apiVersion")
    apis = {**_API_OF_KIND, **(dict.fromkeys(_OF_GATEWAYS, TOOLHIVE_API) if gateways else {})}
    if not isinstance(kind, str) or kind not in apis:
        known = ", ".join(apis)
        raise UsageError(
            f"Unknown kind {kind!r}", why=f"Read from {source}", hint=f"This toolkit applies {known}"
        )
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str) or not re.fullmatch(DNS_LABEL, name):
        raise UsageError(
            f"{kind}: `metadata.name` must be lower-case letters, digits and `-`, not {name!r}",
            why=f"Read from {source}",
        )
    resource = Resource(kind, name, body, source)
    if api != apis[kind]:
        raise resource.error(f"`apiVersion` must be `{apis[kind]}`, not {api!r}")
    return resource


def seconds(text: str) -> int | None:
    """The whole seconds of a Go duration such as `168h` or `1h30m`, or None when the text is not one."""
    # Not `\d`, which matches the digits of other scripts too.
    if not re.fullmatch(r"([0-9]{1,9}[hms])+", text):
        return None
    return sum(int(amount) * _UNIT_SECONDS[unit] for amount, unit in _TERM.findall(text))


def _check_values(document: object, source: str) -> None:
    """Raise UsageError for a document that is too large or too deep, or holds more than JSON can.

    The count includes what YAML aliases expand to: a few lines of them can stand for billions of values.
    """
    waiting = [(document, 0)]
    for _ in range(_MOST_VALUES):
        if not waiting:
            return
        value, depth = waiting.pop()
        problem = "is nested too deeply" if depth > _DEEPEST else _problem(value)
        if problem:
            raise UsageError(f"A manifest {problem}", why=f"Read from {source}")
        waiting += [(inner, depth + 1) for inner in _inside(value)]
    raise UsageError(f"A manifest has more than {_MOST_VALUES} values", why=f"Read from {source}")


def _inside(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _problem(value: object) -> str:
    if isinstance(value, dict):
        return "" if all(isinstance(key, str) for key in value) else "has a key that is not text"
    if isinstance(value, str):
        return "" if _is_unicode(value) else "has text with an incomplete Unicode character"
    if isinstance(value, int) and abs(value) > _LARGEST:
        return "has a number that does not fit into 64 bits"
    if isinstance(value, (*_PLAIN, list)):
        return ""
    return f"has a {type(value).__name__} where it needs text; put it in quotes"


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)
