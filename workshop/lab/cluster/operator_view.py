"""What ToolHive's operator says of a resource, and whether it has acted on what the manifests say now.

From ToolHive 0.63.0 `cmd/thv-operator/controllers`: a changed config leaves the generation of the workload
that refers to it as it was. What tells are the config's hash in the workload's status, and the checksum of
the run configuration in the pods' template.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from workshop.lab.kube.client import Kube
from workshop.lab.kube.objects import Object, annotations_of, conditions_of, mapping, number, text
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
        return text(self.workload, "status", "message")

    def is_current(self, controllers: Sequence[Object]) -> bool:
        """Whether the operator finds all in order, and made the pods' template from what it is now."""
        if self.workload is None or not self.is_observed:
            return False
        holding = {kind for kind, condition in conditions_of(self.workload).items() if condition.holds}
        held = {_MUST_HOLD[field] for field in _MUST_HOLD if field in self.configs} <= holding
        ready = text(self.workload, "status", "phase") == "Ready"
        return held and ready and self._follows_configs() and self._runs_in(controllers)

    def refusals(self) -> Iterator[tuple[str, str, float]]:
        """What the operator refuses: the reason, the message, and how long that may be a passing state."""
        for resource in (self.workload, *self.configs.values()):
            if resource is not None:
                yield from _refusals(resource)

    def _follows_configs(self) -> bool:
        status = mapping(self.workload, "status")
        for field, _, kept in _REFERENCES:
            if field in self.configs:
                config = self.configs[field]
                if config is None or not _is_observed(config):
                    return False
                if text(config, "status", "configHash") != text(status, kept):
                    return False
        return True

    def _runs_in(self, controllers: Sequence[Object]) -> bool:
        deployments = [controller for controller in controllers if controller["kind"] == "Deployment"]
        templates = [mapping(controller, "spec", "template") for controller in deployments]
        runs_with = [annotations_of(template).get(_RUNS_WITH, self.checksum) for template in templates]
        return bool(runs_with) and all(checksum == self.checksum for checksum in runs_with)


def view(kube: Kube, namespace: str, kind: str, name: str) -> OperatorView:
    """Look at a workload's resource and at what belongs to it."""
    workload = kube.get(TOOLHIVE_API, kind, name, namespace)
    configs = {
        field: kube.get(TOOLHIVE_API, kind, referred, namespace)
        for field, kind, _ in _REFERENCES
        if (referred := text(workload, "spec", field, "name"))
    }
    runs = kube.get("v1", "ConfigMap", f"{name}-runconfig", namespace)
    return OperatorView(workload, configs, str(annotations_of(runs).get(_CHECKSUM, "")))


def _is_observed(resource: Object) -> bool:
    observed = number(resource, "status", "observedGeneration")
    return bool(mapping(resource, "status")) and observed == number(resource, "metadata", "generation")


def _refusals(resource: Object) -> Iterator[tuple[str, str, float]]:
    generation = number(resource, "metadata", "generation")
    told = False
    for condition in conditions_of(resource).values():
        current = condition.generation in (None, generation)
        if condition.kind in _TELLING and condition.fails and current:
            told = True
            passes = condition.reason.endswith(_MAY_HEAL)
            grace = _FAILED_GRACE_SECONDS if passes else _AT_ONCE_SECONDS
            yield condition.reason or condition.kind, condition.message, grace
    if text(resource, "status", "phase") == "Failed" and not told:
        yield "Failed", text(resource, "status", "message"), _FAILED_GRACE_SECONDS
