"""The images and charts of the cluster: pinned in `cluster/versions.toml`, replaceable on closed networks."""

import functools
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workshop.core.errors import UsageError
from workshop.core.paths import cluster_dir
from workshop.lab.source_values import CHECKS

_VARIABLES = {
    "node_image": "WORKSHOP_NODE_IMAGE",
    "chart_crds": "WORKSHOP_CHART_CRDS",
    "chart_operator": "WORKSHOP_CHART_OPERATOR",
    "operator": "WORKSHOP_IMAGE_OPERATOR",
    "proxy_runner": "WORKSHOP_IMAGE_PROXY_RUNNER",
    "mcp_server": "WORKSHOP_IMAGE_MCP_SERVER",
    "practice": "WORKSHOP_IMAGE_PRACTICE",
    "python": "WORKSHOP_IMAGE_PYTHON",
    "registry_mirror": "WORKSHOP_REGISTRY_MIRROR",
    "proxy": "WORKSHOP_PROXY",
    "no_proxy": "WORKSHOP_NO_PROXY",
    "ca_file": "WORKSHOP_CA_FILE",
}
_NEVER_PROXIED = ("localhost", "127.0.0.1", "::1", ".svc", ".cluster.local")
_BUILT_HERE = frozenset({"mcp_server", "practice"})


@dataclass(frozen=True)
class Archive:
    """An image in a file, and the id a node gives it."""

    path: Path
    image_id: str


@dataclass(frozen=True)
class Sources:
    """Every image, chart and address a cluster is made from; `prebuilt` names the fields not to build."""

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
    python: str
    registry_mirror: str | None = None
    proxy: str | None = field(default=None, repr=False)  # may carry a password
    no_proxy: str | None = None
    ca_file: Path | None = None
    prebuilt: frozenset[str] = frozenset()
    archives: Mapping[str, Archive] = field(default_factory=dict)  # by reference; what a bundle brought

    @classmethod
    def load(cls, overrides: Mapping[str, str] | None = None) -> "Sources":
        """The pinned sources, then `WORKSHOP_…` variables, then `overrides` as `--override` spells them.

        Raises UsageError for an unknown name, and for a value that cannot be used.
        """
        given = {**_from_environment(), **_from_overrides(overrides or {})}
        checked: dict[str, Any] = {name: CHECKS[name](told, value) for name, (told, value) in given.items()}
        return replace(pinned(), **checked, prebuilt=_BUILT_HERE.intersection(given))

    def images(self) -> tuple[str, ...]:
        """The images that the cluster runs, to be there before the first pod asks for one."""
        return (self.operator, self.proxy_runner, self.mcp_server, self.practice)

    def proxy_environment(self) -> dict[str, str]:
        """What kind reads, and hands to its node with the node's, pods' and services' own addresses added."""
        if self.proxy is None:
            return {}
        own = self.no_proxy or os.environ.get("NO_PROXY") or os.environ.get("no_proxy")
        direct = ",".join(filter(None, [own, *_NEVER_PROXIED]))
        return {"HTTP_PROXY": self.proxy, "HTTPS_PROXY": self.proxy, "NO_PROXY": direct}

    def secrets(self) -> tuple[str, ...]:
        """The values that must never be shown: a proxy's address when a password is in it."""
        return (self.proxy,) if self.proxy and "@" in self.proxy else ()


def override_names() -> tuple[str, ...]:
    """The names that `--override NAME=VALUE` takes."""
    return tuple(name.replace("_", "-") for name in _VARIABLES)


def origins(overrides: Mapping[str, str] | None = None) -> dict[str, str]:
    """Where each replaced field comes from: a `WORKSHOP_…` variable, or an override."""
    given = {**_from_environment(), **_from_overrides(overrides or {})}
    return {name: told for name, (told, _) in given.items()}


@functools.cache
def pinned() -> Sources:
    """The sources as `cluster/versions.toml` has them, with nothing replaced."""
    told: dict[str, Any] = tomllib.loads((cluster_dir() / "versions.toml").read_text(encoding="utf-8"))
    toolhive, kind, charts = told["toolhive"], told["kind"], told["charts"]
    return Sources(
        toolhive_version=toolhive["version"],
        namespace=toolhive["namespace"],
        cluster_name=kind["cluster_name"],
        kind_versions=(kind["minimum"], kind["below"]),
        node_image=kind["node_image"],
        chart_crds=charts["crds"],
        chart_operator=charts["operator"],
        **told["images"],
    )


def _from_environment() -> dict[str, tuple[str, str]]:
    held = {name: (variable, os.environ.get(variable, "")) for name, variable in _VARIABLES.items()}
    return {name: given for name, given in held.items() if given[1]}


def _from_overrides(overrides: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    unknown = sorted(set(overrides) - set(override_names()))
    if unknown:
        raise UsageError(
            f"There is nothing called `{unknown[0]}` to override",
            hint=f"There are {', '.join(override_names())}",
        )
    return {name.replace("-", "_"): (f"--override {name}", value) for name, value in overrides.items()}
