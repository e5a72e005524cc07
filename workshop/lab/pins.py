"""The pinned images and charts of the cluster, and checks of the values that may replace them."""

import functools
import os
import re
import tomllib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from workshop.core.errors import UsageError, reason
from workshop.core.outgoing import web_url
from workshop.core.paths import cluster_dir

_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::\d{1,5})?"
_REGISTRY = rf"(?=[^/]*[.:]|localhost){_HOST}"  # Docker recognises a registry by the same characters
_NAME = rf"(?:{_REGISTRY}/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"sha256:[0-9a-f]{64}"
_OCI = re.compile(rf"oci://{_HOST}(?:/[A-Za-z0-9._-]+)+")
_TAGGED = re.compile(rf"{_NAME}:(?P<tag>{_TAG})")
_TAGGED_OR_DIGEST = re.compile(rf"{_NAME}(?::(?P<tag>{_TAG}))?(?:@{_DIGEST})?")


def check_image(origin: str, value: str) -> str:
    """Return the image of a pod; raises UsageError without a tag: loading it into a node drops the digest."""
    found = _TAGGED.fullmatch(value)
    if not found or found["tag"] == "latest":
        raise UsageError(
            f"`{origin}` is `{value}`, which a pod cannot reference",
            why="It needs a tag other than `latest` and not a digest: an image in a node has only its tag",
            hint="Write NAME:TAG, such as registry.example/operator:v1",
        )
    return value


def _base_image(origin: str, value: str) -> str:
    found = _TAGGED_OR_DIGEST.fullmatch(value)
    if not found or (found["tag"] in {None, "latest"} and "@" not in value):
        raise UsageError(
            f"`{origin}` is `{value}`, which is not an image reference with a version",
            hint="Write NAME:TAG or NAME:TAG@sha256:…, with a tag other than `latest`",
        )
    return value


def _chart(origin: str, value: str) -> str:
    if _OCI.fullmatch(value):
        return value
    path = Path(value).expanduser().absolute()
    if "://" not in value and ((path / "Chart.yaml").is_file() or (path.suffix == ".tgz" and path.is_file())):
        return str(path)
    raise UsageError(
        f"`{origin}` is `{value}`, which is not a chart",
        hint="Give an oci://… reference, a chart's .tgz, or a folder with a Chart.yaml",
    )


def _address(origin: str, value: str) -> str:
    parts = web_url(value)
    if parts is None or parts.query or parts.fragment or re.search(r"[\s\"'\\]", value):
        raise UsageError(  # the value is not repeated, because it may contain a password
            f"`{origin}` is not an http or https address", hint="Write http://HOST:PORT"
        )
    return value.rstrip("/")


def _mirror(origin: str, value: str) -> str:
    if "@" in value:
        raise UsageError(f"`{origin}` contains a user name", hint="Use a mirror that needs no password")
    return _address(origin, value)


def _proxy(origin: str, value: str) -> str:
    if "@" in value and origin.startswith("--"):
        raise UsageError(
            "A proxy's password does not belong on a command line",
            why="Other programs on this machine can read it there",
            hint="Set WORKSHOP_PROXY instead",
        )
    return _address(origin, value)


def _hosts(origin: str, value: str) -> str:
    words = [word.strip() for word in value.split(",")]
    if not all(re.fullmatch(r"[\w.*:/\[\]-]+", word) for word in words):
        raise UsageError(f"`{origin}` is not a list of hosts", hint="Separate hosts and subnets with commas")
    return ",".join(words)


def _certificates(origin: str, value: str) -> Path:
    from cryptography import x509

    path = Path(value).expanduser().absolute()
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise UsageError(f"`{origin}` names `{value}`, which cannot be read", why=reason(error)) from error
    if b"PRIVATE KEY" in pem:
        raise UsageError(
            f"`{origin}` names `{value}`, which contains a private key",
            why="The file is copied into the cluster's node",
            hint="Name a file that contains only certificates",
        )
    try:
        with warnings.catch_warnings(action="ignore"):  # a system's own bundle contains old, odd ones
            x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise UsageError(
            f"`{origin}` names `{value}`, which does not contain a certificate",
            hint="Save the authority's certificate as PEM text (-----BEGIN CERTIFICATE-----)",
        ) from error
    return path


_PINS: Final[Mapping[str, tuple[str, Callable[[str, str], object]]]] = {
    # By field: the variable that replaces the pin, and the check of the new value.
    "node_image": ("WORKSHOP_NODE_IMAGE", _base_image),
    "chart_crds": ("WORKSHOP_CHART_CRDS", _chart),
    "chart_operator": ("WORKSHOP_CHART_OPERATOR", _chart),
    "operator": ("WORKSHOP_IMAGE_OPERATOR", check_image),
    "proxy_runner": ("WORKSHOP_IMAGE_PROXY_RUNNER", check_image),
    "mcp_server": ("WORKSHOP_IMAGE_MCP_SERVER", check_image),
    "practice": ("WORKSHOP_IMAGE_PRACTICE", check_image),
    "vmcp": ("WORKSHOP_IMAGE_VMCP", check_image),
    "python": ("WORKSHOP_IMAGE_PYTHON", _base_image),
    "registry_mirror": ("WORKSHOP_REGISTRY_MIRROR", _mirror),
    "proxy": ("WORKSHOP_PROXY", _proxy),
    "no_proxy": ("WORKSHOP_NO_PROXY", _hosts),
    "ca_file": ("WORKSHOP_CA_FILE", _certificates),
}
_NEVER_PROXIED = ("localhost", "127.0.0.1", "::1", ".svc", ".cluster.local")
_BUILT_HERE = frozenset({"mcp_server", "practice"})  # unless a person names an image


@dataclass(frozen=True)
class Archive:
    """An image in a file, and the id that a node gives it."""

    path: Path
    image_id: str


@dataclass(frozen=True)
class Pins:
    """The images, charts and addresses that a cluster is made from; `prebuilt` fields are not built here."""

    toolhive_version: str
    namespace: str
    cluster_name: str
    kind_versions: tuple[str, str]  # the first that works, and the first that is not expected to
    node_image: str
    chart_crds: str
    chart_operator: str
    operator: str
    proxy_runner: str
    mcp_server: str
    practice: str
    vmcp: str
    python: str
    registry_mirror: str | None = None
    proxy: str | None = field(default=None, repr=False)  # may contain a password
    no_proxy: str | None = None
    ca_file: Path | None = None
    prebuilt: frozenset[str] = frozenset()
    archives: Mapping[str, Archive] = field(default_factory=dict)  # the images of a bundle, by reference

    @classmethod
    def load(cls, overrides: Mapping[str, str] | None = None) -> "Pins":
        """The pins of `versions.toml`, replaced by `WORKSHOP_…` variables and then by `--override` values.

        Raises UsageError for an unknown name, and for a value that cannot be used.
        """
        given = {**_from_environment(), **_from_overrides(overrides or {})}
        checked: dict[str, Any] = {
            name: _PINS[name][1](origin, value) for name, (origin, value) in given.items()
        }
        return replace(pinned(), **checked, prebuilt=_BUILT_HERE.intersection(given))

    def images(self) -> tuple[str, ...]:
        """The images that the cluster runs, and that have to be in its node before the first pod starts."""
        return (self.operator, self.proxy_runner, self.mcp_server, self.practice)

    def proxy_environment(self) -> dict[str, str]:
        """The variables that kind reads and passes to its node; it adds the addresses inside the cluster."""
        if self.proxy is None:
            return {}
        own = self.no_proxy or os.environ.get("NO_PROXY") or os.environ.get("no_proxy")
        direct = ",".join(filter(None, [own, *_NEVER_PROXIED]))
        return {"HTTP_PROXY": self.proxy, "HTTPS_PROXY": self.proxy, "NO_PROXY": direct}

    def secrets(self) -> tuple[str, ...]:
        """The values that must never be shown: the proxy's address if it contains a password."""
        return (self.proxy,) if self.proxy and "@" in self.proxy else ()


def override_names() -> tuple[str, ...]:
    """The names that `--override NAME=VALUE` takes."""
    return tuple(name.replace("_", "-") for name in _PINS)


def origins() -> dict[str, str]:
    """By field, the `WORKSHOP_…` variable that replaces its pin."""
    return {name: variable for name, (variable, _) in _from_environment().items()}


@functools.cache
def pinned() -> Pins:
    """The pins of `cluster/versions.toml`, with nothing replaced."""
    pins: dict[str, Any] = tomllib.loads((cluster_dir() / "versions.toml").read_text(encoding="utf-8"))
    toolhive, kind, charts = pins["toolhive"], pins["kind"], pins["charts"]
    return Pins(
        toolhive_version=toolhive["version"],
        namespace=toolhive["namespace"],
        cluster_name=kind["cluster_name"],
        kind_versions=(kind["minimum"], kind["below"]),
        node_image=kind["node_image"],
        chart_crds=charts["crds"],
        chart_operator=charts["operator"],
        **pins["images"],
    )


def _from_environment() -> dict[str, tuple[str, str]]:
    found = {name: (variable, os.environ.get(variable, "")) for name, (variable, _) in _PINS.items()}
    return {name: given for name, given in found.items() if given[1]}


def _from_overrides(overrides: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    unknown = sorted(set(overrides) - set(override_names()))
    if unknown:
        raise UsageError(
            f"There is no pin called `{unknown[0]}` to override",
            hint=f"Choose one of {', '.join(override_names())}",
        )
    return {name.replace("-", "_"): (f"--override {name}", value) for name, value in overrides.items()}
