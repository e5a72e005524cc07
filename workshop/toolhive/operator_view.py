"""What ToolHive's operator says of a resource, and whether it has acted on what the manifests say now.

From ToolHive 0.44.0 `cmd/thv-operator/controllers`: a changed config leaves the generation of the workload
that refers to it as it was. What tells are the config's hash in the workload's status, and the checksum of
the run configuration in the pods' template.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from workshop.kube.client import Kube, Object
from workshop.toolhive.manifests import TOOLHIVE_API

_FAILED_GRACE_SECONDS = 30.0  # applied all at once, resources fail until those they refer to are valid
_AT_ONCE_SECONDS = 2.0  # what cannot heal: not at the first sight, which may be of the state before
_CHECKSUM = "toolhive.stacklok.dev/content-checksum"
_RUNS_WITH = "toolhive.stacklok.dev/runconfig-checksum"

# Where a workload names a config, of which kind that is, and where its status keeps the config's hash.
_REFERENCES = (
    ("toolConfigRef", "MCPToolConfig", "toolConfigHash"),
    ("oidcConfigRef", "MCPOIDCConfig", "oidcConfigHash"),
    ("authServerRef", "MCPExternalAuthConfig", "authServerConfigHash"),
    ("externalAuthConfigRef", "MCPExternalAuthConfig", "externalAuthConfigHash"),
)
_MUST_HOLD = {"oidcConfigRef": "OIDCConfigRefValidated", "authServerRef": "AuthServerRefValidated"}
_TELLING = (
    "ConfigurationValid",
    "OIDCConfigRefValidated",
    "AuthServerRefValidated",
    "ExternalAuthConfigValidated",
    "ToolConfigValidated",
    "PodTemplateValid",
    "Valid",
)
_MAY_HEAL = ("NotFound", "FetchError", "NotValid", "NotReady", "RefError")  # ends of the reasons that pass


@dataclass(frozen=True)
class OperatorView:
    """A workload's own resource, the configs it refers to, and the checksum of its run configuration."""

    workload: Object | None
    configs: Mapping[str, Object | None]
    checksum: str

    @property
    def is_observed(self) -> bool:
        """Whether the operator has looked at the workload since it was changed last."""
        return self.workload is not None and _is_observed(self.workload)

    @property
    def message(self) -> str:
        return str((self.workload or {}).get("status", {}).get("message") or "")

    def is_current(self, controllers: Sequence[Object]) -> bool:
        """Whether the operator finds all in order, and made the pods' template from what it is now."""
        if self.workload is None or not self.is_observed:
            return False
        conditions = {item["type"]: item["status"] for item in self.workload["status"].get("conditions", ())}
        held = all(
            conditions.get(_MUST_HOLD[field]) == "True" for field in _MUST_HOLD if field in self.configs
        )
        ready = self.workload["status"].get("phase") == "Ready"
        return held and ready and self._follows_configs() and self._runs_in(controllers)

    def refusals(self) -> Iterator[tuple[str, str, float]]:
        """What the operator refuses: the reason, the message, and how long that may be a passing state."""
        for resource in (self.workload, *self.configs.values()):
            if resource is not None:
                yield from _refusals(resource)

    def _follows_configs(self) -> bool:
        status = (self.workload or {}).get("status", {})
        for field, _, kept in _REFERENCES:
            if field in self.configs:
                config = self.configs[field]
                if config is None or not _is_observed(config):
                    return False
                if config["status"].get("configHash") != status.get(kept):
                    return False
        return True

    def _runs_in(self, controllers: Sequence[Object]) -> bool:
        deployments = [controller for controller in controllers if controller["kind"] == "Deployment"]
        metadata = [controller["spec"]["template"].get("metadata") or {} for controller in deployments]
        runs_with = [(item.get("annotations") or {}).get(_RUNS_WITH, self.checksum) for item in metadata]
        return bool(runs_with) and all(checksum == self.checksum for checksum in runs_with)


def view(kube: Kube, namespace: str, kind: str, name: str) -> OperatorView:
    """Look at a workload's resource and at what belongs to it."""
    workload = kube.get(TOOLHIVE_API, kind, name, namespace)
    spec = (workload or {}).get("spec", {})
    configs = {
        field: kube.get(TOOLHIVE_API, kind, spec[field]["name"], namespace)
        for field, kind, _ in _REFERENCES
        if spec.get(field)
    }
    runs = kube.get("v1", "ConfigMap", f"{name}-runconfig", namespace)
    annotations = ((runs or {}).get("metadata") or {}).get("annotations") or {}
    return OperatorView(workload, configs, str(annotations.get(_CHECKSUM, "")))


def _is_observed(resource: Object) -> bool:
    generation = resource["metadata"].get("generation")
    return bool(resource.get("status")) and resource["status"].get("observedGeneration") == generation


def _refusals(resource: Object) -> Iterator[tuple[str, str, float]]:
    generation = resource["metadata"].get("generation")
    status = resource.get("status", {})
    told = False
    for item in status.get("conditions", ()):
        current = item.get("observedGeneration") in (None, generation)
        if item["type"] in _TELLING and item["status"] == "False" and current:
            told = True
            passes = item["reason"].endswith(_MAY_HEAL)
            yield item["reason"], item["message"], _FAILED_GRACE_SECONDS if passes else _AT_ONCE_SECONDS
    if status.get("phase") == "Failed" and not told:
        yield "Failed", status.get("message") or "", _FAILED_GRACE_SECONDS
